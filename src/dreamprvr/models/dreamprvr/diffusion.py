"""The truncated diffusion and its denoiser (docs/model.md, section 4.5)."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dreamprvr.models.dreamprvr.config import DreamPRVRConfig
from dreamprvr.models.layers.basic import LayerNorm, sinusoidal_table

OFFSET = 0.008  # offset of the cosine schedule
MAX_BETA = 0.999

Denoise = Callable[[Tensor, int], Tensor]  # (x_t, t) -> predicted noise


def cosine_betas(steps: int) -> Tensor:
    """Compute the variances beta_t of the cosine schedule, (steps,) float64."""
    time = torch.arange(steps + 1, dtype=torch.float64) / steps
    alpha_bar = torch.cos((time + OFFSET) / (1 + OFFSET) * math.pi / 2) ** 2
    return (1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=MAX_BETA)


class Diffusion(nn.Module):
    """The forward and the reverse process over T steps; it has constants, but no weights.

    The reverse chain is called truncated because it starts from the initial register instead of
    pure noise. x_t is the register at step t, eps the noise, and abar_t the product of 1 - beta up
    to step t.

    Args:
        steps: T.
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
        # variance[0] is 0; step 0 adds no noise, so its logarithm only has to be finite
        log_variance = torch.log(torch.cat([variance[1:2], variance[1:]]).clamp(min=1e-20))
        constants = {
            "signal": alpha_bar.sqrt(),  # factor of x_0 in x_t
            "noise": (1 - alpha_bar).sqrt(),  # factor of eps in x_t
            "inverse_signal": (1 / alpha_bar).sqrt(),  # factor of x_t in x_0
            "inverse_noise": (1 / alpha_bar - 1).sqrt(),  # factor of -eps in x_0
            "mean_start": beta * previous.sqrt() / (1 - alpha_bar),  # of x_0 in the step's mean
            "mean_current": (1 - previous) * (1 - beta).sqrt() / (1 - alpha_bar),  # of x_t in it
            "deviation": torch.exp(0.5 * log_variance) if steps > 1 else torch.zeros(1),
        }
        for name, values in constants.items():
            self.register_buffer(name, values.float(), persistent=False)

    def add_noise(self, start: Tensor, noise: Tensor, step: Tensor) -> Tensor:
        """Compute x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps; the arguments are broadcast.

        Args:
            start: x_0.
            noise: eps.
            step: t, int64.
        """
        return self.signal[step] * start + self.noise[step] * noise

    def reverse(self, denoise: Denoise, initial: Tensor, step_noise: Tensor | None) -> Tensor:
        """Run the T reverse steps from the initial register down to x_0.

        Args:
            denoise: function that predicts the noise in x_t at step t.
            initial: x_T, (B, R, D).
            step_noise: z, the noise added in every step, (B, R, D); None draws it from N(0, I) in
                each step.

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


class TimeEmbedding(nn.Module):
    """Embeds the steps: a frozen table (T, D), then Linear, Swish, Linear."""

    def __init__(self, config: DreamPRVRConfig) -> None:
        super().__init__()
        self.table = nn.Embedding(config.diffusion_steps, config.hidden_size)
        self.table.weight.requires_grad_(False)
        self.expand = nn.Linear(config.hidden_size, config.hidden_size)
        self.contract = nn.Linear(config.hidden_size, config.hidden_size)

    def set_sinusoidal(self) -> None:
        """Fill the table with sinusoidal codes, as the paper does."""
        self.table.weight.data.copy_(sinusoidal_table(*self.table.weight.shape))

    def forward(self) -> Tensor:
        """Embed all steps, (T, D)."""
        return self.contract(F.silu(self.expand(self.table.weight)))


class DenoiserBlock(nn.Module):
    """Residual block that adds the time and the condition half-way."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.norm_in = LayerNorm(hidden_size)
        self.linear_in = nn.Linear(hidden_size, hidden_size)
        self.time = nn.Linear(hidden_size, hidden_size)
        self.condition = nn.Linear(hidden_size, hidden_size)
        self.norm_out = LayerNorm(hidden_size)
        self.linear_out = nn.Linear(hidden_size, hidden_size)
        self.shortcut = nn.Linear(hidden_size, hidden_size)

    def forward(self, x: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        """Transform x, (..., R, D) -> (..., R, D).

        Args:
            x: registers or hidden states of them, (..., R, D).
            time: projected embedding of the step, broadcast with `x`.
            condition: projected condition, broadcast with `x`.
        """
        h = self.linear_in(F.silu(self.norm_in(x))) + time + condition
        return self.linear_out(F.silu(self.norm_out(h))) + self.shortcut(x)


class Guidance(NamedTuple):
    """The embedded steps and condition, projected once for each residual block."""

    time: list[Tensor]  # for each block, (T, D), one row for each step
    condition: list[Tensor]  # for each block, (B, R, D)


class Denoiser(nn.Module):
    """Predicts the noise in x_t from x_t, the step and the video's condition.

    Args:
        config: settings of the model.
    """

    def __init__(self, config: DreamPRVRConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.time = TimeEmbedding(config)
        self.condition_norm = LayerNorm(size)
        self.condition_linear = nn.Linear(size, size)
        self.blocks = nn.ModuleList(DenoiserBlock(size) for _ in range(config.denoiser_blocks))
        self.output = nn.Linear(size, size)

    def guide(self, condition: Tensor) -> Guidance:
        """Embed all steps and the condition c, (B, R, D), once for all steps of a chain."""
        time = F.silu(self.time())
        embedded = F.silu(self.condition_linear(F.relu(self.condition_norm(condition))))
        blocks: list[DenoiserBlock] = list(self.blocks)  # type: ignore[arg-type]
        return Guidance(
            [block.time(time) for block in blocks],
            [block.condition(embedded) for block in blocks],
        )

    def forward(self, x: Tensor, step: int | Tensor, guidance: Guidance) -> Tensor:
        """Predict the noise in x_t; the result has the shape of `x`.

        Args:
            x: x_t, (N, B, R, D) or (B, R, D).
            step: t for all of `x`, or (N,) int64, one t for each slice of the first axis.
            guidance: result of `guide` for the condition of the same videos.
        """
        h = x
        for block, time, condition in zip(self.blocks, *guidance, strict=True):
            row = time[step]  # (D,), or (N, D)
            h = block(h, row.view(-1, *(1,) * (x.dim() - 2), row.shape[-1]), condition)
        return self.output(h + x)
