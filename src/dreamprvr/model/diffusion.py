"""The truncated diffusion: a short DDPM (model.md, section 4.5)."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

OFFSET = 0.008
MAX_BETA = 0.999

Denoise = Callable[[Tensor, int], Tensor]  # (x_t, t) -> predicted noise


def cosine_betas(steps: int) -> Tensor:
    """Variances beta_t of the cosine schedule, (steps,) float64."""
    time = torch.arange(steps + 1, dtype=torch.float64) / steps
    alpha_bar = torch.cos((time + OFFSET) / (1 + OFFSET) * math.pi / 2) ** 2
    return (1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=MAX_BETA)


class Diffusion(nn.Module):
    """Forward and reverse process over T steps; holds no weights, only the schedule's constants.

    The reverse chain starts from the initial register rather than from pure noise; that is what
    truncates it. Symbols: x_t the register at step t, eps the noise, abar_t the cumulative product
    of 1 - beta.
    """

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.signal: Tensor
        self.noise: Tensor
        self.inverse_signal: Tensor
        self.inverse_noise: Tensor
        self.mean_start: Tensor
        self.mean_current: Tensor
        self.deviation: Tensor
        beta = cosine_betas(steps)
        alpha_bar = torch.cumprod(1 - beta, dim=0)
        previous = torch.cat([torch.ones(1, dtype=torch.float64), alpha_bar[:-1]])
        variance = beta * (1 - previous) / (1 - alpha_bar)
        # variance[0] is 0; step 0 adds no noise, so only its logarithm must stay finite
        log_variance = torch.log(torch.cat([variance[1:2], variance[1:]]).clamp(min=1e-20))
        constants = {
            "signal": alpha_bar.sqrt(),  # of x_0 in x_t
            "noise": (1 - alpha_bar).sqrt(),  # of eps in x_t
            "inverse_signal": (1 / alpha_bar).sqrt(),  # of x_t in x_0
            "inverse_noise": (1 / alpha_bar - 1).sqrt(),  # of -eps in x_0
            "mean_start": beta * previous.sqrt() / (1 - alpha_bar),  # of x_0 in the mean
            "mean_current": (1 - previous) * (1 - beta).sqrt() / (1 - alpha_bar),  # of x_t
            "deviation": torch.exp(0.5 * log_variance) if steps > 1 else torch.zeros(1),
        }
        for name, values in constants.items():
            self.register_buffer(name, values.float(), persistent=False)

    def add_noise(self, start: Tensor, noise: Tensor, step: Tensor) -> Tensor:
        """x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps.

        Args:
            start: x_0; broadcasts with the rest.
            noise: eps.
            step: t, int64, shaped to broadcast with them.
        """
        return self.signal[step] * start + self.noise[step] * noise

    def reverse(self, denoise: Denoise, initial: Tensor, step_noise: Tensor | None) -> Tensor:
        """Run the T reverse steps from the initial register down to x_0.

        Args:
            denoise: predicts the noise in x_t at step t.
            initial: x_T, (B, R, D).
            step_noise: z of every step, the shape of `initial`; None draws N(0, I) anew each step.

        Returns:
            x_0, (B, R, D). Gradients flow through the whole chain.
        """
        x = initial
        for t in reversed(range(self.steps)):
            eps = denoise(x, t)
            start = (self.inverse_signal[t] * x - self.inverse_noise[t] * eps).clamp(-1, 1)
            x = self.mean_start[t] * start + self.mean_current[t] * x
            if t > 0:
                z = torch.randn_like(x) if step_noise is None else step_noise
                x = x + self.deviation[t] * z
        return x
