"""Global registers: imagine what a video may be asked for (model.md, section 4)."""

from typing import NamedTuple

import torch
from einops import repeat
from torch import Tensor, nn

from dreamprvr.model.attention import AttentionBlock
from dreamprvr.model.config import NetworkConfig
from dreamprvr.model.denoiser import Denoiser, Guidance
from dreamprvr.model.diffusion import Diffusion
from dreamprvr.model.perturbation import perturb_text
from dreamprvr.model.variational_sampler import VariationalSampler


class RegisterSample(NamedTuple):
    """What the sampler computes for B videos."""

    registers: Tensor  # (B, R, D), x_0 of the reverse chain
    initial: Tensor  # (B, R, D), where the chain starts
    condition: Tensor  # c, (B, R, D)
    guidance: Guidance  # of that condition
    mu: Tensor  # (B, D)
    logvar: Tensor  # (B, D)
    summary_tokens: Tensor  # h, (B, M_c, D)


class DiffusionTarget(NamedTuple):
    """The two sides of L_dre."""

    predicted: Tensor  # predicted noise, (N, B, R, D)
    noise: Tensor  # true noise, the same shape


class RegisterSampler(nn.Module):
    """Condition, initial register and truncated diffusion."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        size, heads, dropout = config.hidden_size, config.num_heads, config.dropout
        self.summary = AttentionBlock(size, heads, dropout)
        self.query_tokens = nn.Parameter(torch.randn(1, config.num_registers, size))
        self.conditioning = AttentionBlock(size, heads, dropout, ffn_ratio=1)
        self.variational = VariationalSampler(size, config.num_clips)
        self.diffusion = Diffusion(config.diffusion_steps)
        self.denoiser = Denoiser(config)

    def forward(self, clip_tokens: Tensor) -> RegisterSample:
        """Registers of each video.

        Args:
            clip_tokens: x, projected and positioned clips, (B, M_c, D).
        """
        return self.sample(clip_tokens, self.variational.rank_weights())

    def sample(self, clip_tokens: Tensor, rank_weights: Tensor) -> RegisterSample:
        """`forward` with the weights (M_c,) that no video changes; compiles as a whole."""
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
        return RegisterSample(registers, initial, condition, guidance, mu, logvar, h)

    def diffusion_target(self, sample: RegisterSample, text: Tensor) -> DiffusionTarget:
        """Predicted and true noise of the textual targets (section 4.6).

        Args:
            sample: of `forward`, for the same videos.
            text: m, (B, D), the mean of the embeddings of each video's queries.
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
