"""The denoiser and the truncated diffusion (docs/model.md, section 4.5)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class TimeEmbedding(nn.Module):
    """Frozen table of T x D, Linear, Swish, Linear."""

    def __init__(self, steps: int, size: int) -> None:
        super().__init__()
        self.table = nn.Embedding(steps, size)
        self.table.weight.requires_grad_(False)
        self.expand = nn.Linear(size, size)
        self.contract = nn.Linear(size, size)

    def forward(self, step: Tensor) -> Tensor:
        """(B,) int64 -> (B, D)."""
        return self.contract(F.silu(self.expand(self.table(step))))


class DenoiserBlock(nn.Module):
    """Residual block that adds the time and the condition half-way."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.norm_in = nn.LayerNorm(size)
        self.linear_in = nn.Linear(size, size)
        self.time = nn.Linear(size, size)
        self.condition = nn.Linear(size, size)
        self.norm_out = nn.LayerNorm(size)
        self.linear_out = nn.Linear(size, size)
        self.shortcut = nn.Linear(size, size)

    def forward(self, x: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        """(B, R, D), (B, 1, D) and (B, R, D) -> (B, R, D)."""
        h = self.linear_in(F.silu(self.norm_in(x)))
        h = h + self.time(F.silu(time)) + self.condition(F.silu(condition))
        return self.linear_out(F.silu(self.norm_out(h))) + self.shortcut(x)


class Denoiser(nn.Module):
    """Predicts the noise in x_t from x_t, t and the condition."""

    def __init__(self, steps: int, size: int, num_blocks: int) -> None:
        super().__init__()
        self.time = TimeEmbedding(steps, size)
        self.condition_norm = nn.LayerNorm(size)
        self.condition_linear = nn.Linear(size, size)
        self.blocks = nn.ModuleList()
        for _ in range(num_blocks):
            self.blocks.append(DenoiserBlock(size))
        self.output = nn.Linear(size, size)

    def forward(self, x: Tensor, step: int, condition: Tensor) -> Tensor:
        """x_t (B, R, D), t and the condition (B, R, D) -> predicted noise (B, R, D)."""
        steps = torch.full((len(x),), step, device=x.device)
        time = self.time(steps)[:, None]  # (B, 1, D)
        condition = self.condition_linear(F.relu(self.condition_norm(condition)))
        h = x
        for block in self.blocks:
            h = block(h, time, condition)
        return self.output(h + x)


class Schedule(nn.Module):
    """The cosine schedule's constants, (T,) float32 each, from float64."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        beta = torch.tensor([_beta(t, steps) for t in range(steps)], dtype=torch.float64)
        alpha_bar = torch.cumprod(1 - beta, dim=0)
        previous = torch.cat([torch.ones(1, dtype=torch.float64), alpha_bar[:-1]])
        variance = beta * (1 - previous) / (1 - alpha_bar)
        variance[0] = variance[min(1, steps - 1)]  # it would be 0; no noise is added there
        self.signal: Tensor
        self.noise: Tensor
        self.start_signal: Tensor
        self.start_noise: Tensor
        self.mean_start: Tensor
        self.mean_current: Tensor
        self.deviation: Tensor
        for name, value in {
            "signal": alpha_bar.sqrt(),
            "noise": (1 - alpha_bar).sqrt(),
            "start_signal": (1 / alpha_bar).sqrt(),
            "start_noise": (1 / alpha_bar - 1).sqrt(),
            "mean_start": beta * previous.sqrt() / (1 - alpha_bar),
            "mean_current": (1 - beta).sqrt() * (1 - previous) / (1 - alpha_bar),
            "deviation": torch.exp(0.5 * torch.log(variance.clamp(min=1e-20))),
        }.items():
            self.register_buffer(name, value.float(), persistent=False)

    def add_noise(self, start: Tensor, noise: Tensor, step: int) -> Tensor:
        """x_t of x_0 and eps, all (B, R, D)."""
        return self.signal[step] * start + self.noise[step] * noise

    def reverse_step(self, x: Tensor, predicted: Tensor, noise: Tensor, step: int) -> Tensor:
        """x_{t-1} of x_t, the predicted noise and z, all (B, R, D)."""
        start = self.start_signal[step] * x - self.start_noise[step] * predicted
        start = start.clamp(-1, 1)
        mean = self.mean_start[step] * start + self.mean_current[step] * x
        return mean if step == 0 else mean + self.deviation[step] * noise


def _beta(step: int, steps: int) -> float:
    """beta_t of the cosine schedule."""

    def alpha_bar(time: float) -> float:
        return math.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2

    return min(1 - alpha_bar((step + 1) / steps) / alpha_bar(step / steps), 0.999)
