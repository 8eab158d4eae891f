"""The global registers and the samplers that make them (docs/model.md, section 4)."""

from typing import NamedTuple

import torch
from einops import rearrange, reduce, repeat
from torch import Tensor, nn
from torch.nn import functional as F

from dreamprvr.models.dreamprvr.config import DreamPRVRConfig
from dreamprvr.models.dreamprvr.diffusion import Denoiser, Diffusion, Guidance
from dreamprvr.models.dreamprvr.variational_sampler import VariationalSampler
from dreamprvr.models.layers.attention import AttentionBlock
from dreamprvr.models.layers.basic import at_least_float32
from dreamprvr.models.parts import Registers, RegisterSampler

EPSILON = 1e-5  # of the standardisation in the textual perturbation


class RegisterSample(NamedTuple):
    """The results of the diffusion sampler for B videos."""

    registers: Tensor  # (B, R, D), x_0 of the reverse chain
    initial: Tensor  # (B, R, D), x_T, the start of the chain
    guidance: Guidance  # the embedded steps and condition c of the denoiser
    mu: Tensor  # (B, D)
    logvar: Tensor  # (B, D)


class DiffusionTarget(NamedTuple):
    """The two sides of L_dre for N steps (docs/model.md, section 4.6)."""

    predicted: Tensor  # predicted noise, (N, B, R, D)
    noise: Tensor  # true noise, (N, B, R, D)


class DiffusionRegisters(RegisterSampler):
    """The published sampler: condition, initial register and truncated diffusion.

    Args:
        config: settings of the model.
    """

    def __init__(self, config: DreamPRVRConfig) -> None:
        super().__init__()
        self.config = config
        size, heads, dropout = config.hidden_size, config.num_heads, config.dropout
        self.summary = AttentionBlock(size, heads, dropout)
        self.query_tokens = nn.Parameter(torch.randn(1, config.num_registers, size))
        self.conditioning = AttentionBlock(size, heads, dropout, ffn_ratio=1)
        self.variational = VariationalSampler(size, config.num_clips)
        self.diffusion = Diffusion(config.diffusion_steps)
        self.denoiser = Denoiser(config)

    def forward(self, clip_tokens: Tensor) -> Registers:
        """Make the registers of each video from its clips x, (B, M_c, D)."""
        sample = self.sample(clip_tokens, self.variational.rank_weights())
        return Registers(sample.registers, sample)

    def sample(self, clip_tokens: Tensor, rank_weights: Tensor) -> RegisterSample:
        """Run the sampler after its GRU, which no compiler traces; so this can be compiled.

        Args:
            clip_tokens: x, the clips after projection and position embedding, (B, M_c, D).
            rank_weights: `VariationalSampler.rank_weights`, (M_c,), the same for all videos.
        """
        h = self.summary(clip_tokens)
        queries = repeat(self.query_tokens, "1 r d -> b r d", b=len(h))
        condition = self.conditioning(queries, context=h)
        mu, logvar = self.variational(h, rank_weights)
        initial = repeat(mu, "b d -> b r d", r=self.config.num_registers)
        if self.config.initial_register == "sample":
            deviation = torch.exp(0.5 * logvar)[:, None]
            initial = initial + deviation * torch.randn_like(initial)
        guidance = self.denoiser.guide(condition)
        registers = self.diffusion.reverse(
            lambda x, t: self.denoiser(x, t, guidance),
            initial,
            initial if self.config.reverse_noise == "register" else None,
        )
        return RegisterSample(registers, initial, guidance, mu, logvar)

    def losses(self, registers: Registers, text: Tensor) -> dict[str, Tensor]:
        """Compute the KL term and L_dre of each video (docs/model.md, sections 4.6 and 7)."""
        target = self.diffusion_target(registers.context, text)
        with torch.autocast(text.device.type, enabled=False):
            return {
                "kl": kl_to_standard_normal(registers.context.mu, registers.context.logvar),
                "diffusion": denoising_error(
                    at_least_float32(target.predicted), at_least_float32(target.noise)
                ),
            }

    def diffusion_target(self, sample: RegisterSample, text: Tensor) -> DiffusionTarget:
        """Predict the noise of the textual targets (docs/model.md, section 4.6).

        Args:
            sample: the result of `sample` for the same videos.
            text: m, the mean of the embeddings of each video's queries, (B, D).
        """
        start = perturb_text(text, self.config.num_registers, self.config.text_perturbation)
        if self.config.training_noise == "register":  # every step t, as one batch
            step = torch.arange(self.config.diffusion_steps, device=text.device)
            noise = repeat(sample.initial, "b r d -> t b r d", t=len(step))
            noisy = self.diffusion.add_noise(start, noise, step.view(-1, 1, 1, 1))
            return DiffusionTarget(self.denoiser(noisy, step, sample.guidance), noise)
        step = torch.randint(self.config.diffusion_steps, (len(text),), device=text.device)
        noise = torch.randn_like(start)
        noisy = self.diffusion.add_noise(start, noise, step.view(-1, 1, 1))
        return DiffusionTarget(self.denoiser(noisy, step, sample.guidance)[None], noise[None])


class PooledRegisters(RegisterSampler):
    """Registers without diffusion: the means of R equal parts of the video's clips.

    The paper's ablation names pooled registers but gives no equation; the equal parts are our
    choice.

    Args:
        config: settings of the model.
    """

    def __init__(self, config: DreamPRVRConfig) -> None:
        super().__init__()
        self.num_registers = config.num_registers

    def forward(self, clip_tokens: Tensor) -> Registers:
        """Make the registers of each video from its clips, (B, M_c, D)."""
        pooled = F.adaptive_avg_pool1d(rearrange(clip_tokens, "b l d -> b d l"), self.num_registers)
        return Registers(rearrange(pooled, "b d r -> b r d"))


class LearnedRegisters(RegisterSampler):
    """Learned registers, the same for every video.

    Args:
        config: settings of the model.
    """

    def __init__(self, config: DreamPRVRConfig) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.randn(1, config.num_registers, config.hidden_size))

    def forward(self, clip_tokens: Tensor) -> Registers:
        """Give the same registers to each of B videos."""
        return Registers(repeat(self.tokens, "1 r d -> b r d", b=len(clip_tokens)))


def perturb_text(text: Tensor, num_registers: int, perturbation: float) -> Tensor:
    """Make R variants of each video's mean query embedding (docs/model.md, section 4.6).

    Each row is standardised over its D entries, scaled by alpha ~ N(1, (p s)^2) and shifted by
    beta ~ N(row mean, (p s)^2), where s is the standard deviation of the row. alpha and beta are
    drawn for each register and dimension. No gradient passes through them.

    Args:
        text: m, the mean of the embeddings of each video's queries, (B, D).
        num_registers: R.
        perturbation: p; with 0, all R variants are the standardised row plus its mean.

    Returns:
        x_0, the target of the registers, (B, R, D).
    """
    rows = repeat(text, "b d -> b r d", r=num_registers)
    mean, deviation = rows.mean(-1, keepdim=True), rows.std(-1, keepdim=True)
    standardised = F.layer_norm(rows, rows.shape[-1:], eps=EPSILON)
    spread = perturbation * deviation.detach()
    alpha = 1 + spread * torch.randn_like(rows)
    beta = mean.detach() + spread * torch.randn_like(rows)
    return alpha * standardised + beta


def kl_to_standard_normal(mu: Tensor, logvar: Tensor) -> Tensor:
    """Compute KL(N(mu, exp(logvar)) || N(0, I)) of each video (docs/model.md, section 7).

    Args:
        mu: (B, D).
        logvar: (B, D).

    Returns:
        (B,).
    """
    return (0.5 * (mu**2 + logvar.exp() - 1 - logvar)).sum(dim=-1)


def denoising_error(predicted: Tensor, noise: Tensor) -> Tensor:
    """Compute L_dre of each video, the mean squared error of the predicted noise.

    The gradient passes through both sides (docs/model.md, section 7).

    Args:
        predicted: predicted noise of N steps, (N, B, R, D).
        noise: true noise, (N, B, R, D).

    Returns:
        (B,).
    """
    return reduce((predicted - noise) ** 2, "n b r d -> b", "mean")
