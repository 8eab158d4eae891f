"""Global registers: condition, sampler, denoiser and diffusion (docs/model.md, section 4)."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.baseline.gaussian import AttentionBlock
from dreamprvr.models.dreamprvr.config import DreamPRVRConfig


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


CODE_SIZE = 32


def sinusoidal_codes(length: int, size: int) -> Tensor:
    """Sines in the even columns, cosines in the odd ones; (length, size) float32."""
    codes = torch.zeros(length, size)
    angle = torch.arange(length)[:, None] * torch.exp(
        torch.arange(0, size, 2) * (-math.log(10000.0) / size)
    )
    codes[:, 0::2] = torch.sin(angle)
    codes[:, 1::2] = torch.cos(angle)
    return codes


class GeneralizedPooling(nn.Module):
    """Weighted sum of the tokens, sorted in every dimension; a GRU gives the weights."""

    def __init__(self, num_tokens: int) -> None:
        super().__init__()
        self.gru = nn.GRU(CODE_SIZE, CODE_SIZE, batch_first=True, bidirectional=True)
        self.score = nn.Linear(CODE_SIZE, 1, bias=False)
        self.codes: Tensor
        self.register_buffer("codes", sinusoidal_codes(num_tokens, CODE_SIZE), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, D) -> (B, D)."""
        states, _ = self.gru(self.codes[None])  # (1, L, 64)
        states = (states[:, :, :CODE_SIZE] + states[:, :, CODE_SIZE:]) / 2
        weights = torch.softmax(self.score(states) / 0.1, dim=1)  # (1, L, 1)
        return (weights * x.sort(dim=1, descending=True).values).sum(dim=1)


class AdditivePooling(nn.Module):
    """Weighted sum of the tokens; softmax over tokens of w2 tanh(w1 h)."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.w1 = nn.Linear(hidden_size, hidden_size // 2, bias=False)
        self.w2 = nn.Linear(hidden_size // 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, D) -> (B, D)."""
        weights = torch.softmax(self.w2(torch.tanh(self.w1(x))), dim=1)  # (B, L, 1)
        return (weights * x).sum(dim=1)


class VariationalSampler(nn.Module):
    """Mean and log-variance of a video's initial registers."""

    def __init__(self, hidden_size: int, num_tokens: int) -> None:
        super().__init__()
        self.pooling = GeneralizedPooling(num_tokens)
        self.mean_pooling = AdditivePooling(hidden_size)
        self.mean_linear = nn.Linear(hidden_size, hidden_size)
        self.mean_norm = nn.LayerNorm(hidden_size)
        self.variance_pooling = AdditivePooling(hidden_size)
        self.variance_linear = nn.Linear(hidden_size, hidden_size)
        self.variance_global = nn.Linear(hidden_size, hidden_size)

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """(B, L, D) -> mu (B, D) and logvar (B, D)."""
        g = self.pooling(h)
        residual = torch.sigmoid(self.mean_linear(self.mean_pooling(h)))
        mu = F.normalize(self.mean_norm(g + residual), dim=-1)
        logvar = self.variance_linear(self.variance_pooling(h)) + self.variance_global(g)
        return mu, logvar


class Registers(NamedTuple):
    """Results of the sampler for B videos."""

    registers: Tensor  # (B, R, D)
    initial: Tensor  # (B, R, D), mu R times
    condition: Tensor  # (B, R, D)
    mu: Tensor  # (B, D)
    logvar: Tensor  # (B, D)


def perturb_text(text: Tensor, num_registers: int, perturbation: float) -> Tensor:
    """Return R variants (B, R, D) of each row of `text` (B, D); `perturbation` is relative."""
    rows = text[:, None, :].repeat(1, num_registers, 1)
    mean = rows.mean(dim=-1, keepdim=True)
    variance = rows.var(dim=-1, keepdim=True, unbiased=False)
    standardised = (rows - mean) / torch.sqrt(variance + 1e-5)
    spread = perturbation * rows.std(dim=-1, keepdim=True)
    alpha = 1 + spread * torch.randn_like(rows)
    beta = mean + spread * torch.randn_like(rows)
    return alpha.detach() * standardised + beta.detach()


class RegisterSampler(nn.Module):
    """Registers of clips that are projected and have positions."""

    def __init__(self, config: DreamPRVRConfig) -> None:
        super().__init__()
        size, heads, dropout = config.hidden_size, config.num_heads, config.dropout
        self.num_registers = config.num_registers
        self.perturbation = config.text_perturbation
        self.summary = AttentionBlock(size, heads, dropout)
        self.query_tokens = nn.Parameter(torch.randn(1, config.num_registers, size))
        self.conditioning = AttentionBlock(size, heads, dropout, ffn_ratio=1)
        self.variational = VariationalSampler(size, config.num_clips)
        self.schedule = Schedule(config.diffusion_steps)
        self.denoiser = Denoiser(config.diffusion_steps, size, config.denoiser_blocks)

    def forward(self, clips: Tensor) -> Registers:
        """x (B, M_c, D) -> registers (B, R, D), with all intermediate results."""
        h = self.summary(clips, clips)
        condition = self.conditioning(self.query_tokens.repeat(len(clips), 1, 1), h)
        mu, logvar = self.variational(h)
        initial = mu[:, None, :].repeat(1, self.num_registers, 1)
        x = initial
        for step in reversed(range(self.schedule.steps)):
            predicted = self.denoiser(x, step, condition)
            x = self.schedule.reverse_step(x, predicted, initial, step)
        return Registers(x, initial, condition, mu, logvar)

    def predict_noise(self, sample: Registers, text: Tensor) -> Tensor:
        """Return the predicted noise (T, B, R, D); the true noise is `sample.initial`.

        Args:
            sample: of the same videos.
            text: (B, D), the mean of the embeddings of each video's queries.
        """
        start = perturb_text(text, self.num_registers, self.perturbation)
        predicted = []
        for step in range(self.schedule.steps):
            noisy = self.schedule.add_noise(start, sample.initial, step)
            predicted.append(self.denoiser(noisy, step, sample.condition))
        return torch.stack(predicted)
