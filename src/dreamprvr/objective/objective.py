"""The weighted sum of all loss terms (model.md, section 7)."""

from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dreamprvr.errors import UserError
from dreamprvr.model.layers import full
from dreamprvr.model.registers import DiffusionTarget, RegisterSample
from dreamprvr.model.scoring import PaddedFrames, VideoTokens, token_scores
from dreamprvr.objective.diffusion import denoising_error
from dreamprvr.objective.kl import kl_to_standard_normal
from dreamprvr.objective.nce import nce
from dreamprvr.objective.semantic_structure import diversity, query_similarity
from dreamprvr.objective.triplet import triplet


@dataclass(frozen=True)
class ObjectiveConfig:
    """Weights and constants of the loss terms; the defaults are ActivityNet's.

    Args:
        clip_nce_weight: of the clip NCE.
        frame_nce_weight: of the frame NCE.
        diversity_weight: of the diversity term.
        similarity_weight: of the query similarity preservation.
        kl_weight: of the sampler's KL term.
        diffusion_weight: of L_dre.
        margin: of the two triplet terms, whose weight is 1.
        hard_negatives_from: first epoch (from 0) with hard negatives.
        hard_pool: a query's negative is drawn from this many hardest videos.
        diversity_delta: delta of the diversity term.
        diversity_alpha: alpha of the diversity term.
        diversity_gamma: gamma of the diversity term.
        similarity_temperature: tau of the query similarity preservation.
    """

    clip_nce_weight: float = 0.02
    frame_nce_weight: float = 0.04
    diversity_weight: float = 0.003
    similarity_weight: float = 0.01
    kl_weight: float = 1e-4
    diffusion_weight: float = 1e-3
    margin: float = 0.2
    hard_negatives_from: int = 20
    hard_pool: int = 20
    diversity_delta: float = 0.2
    diversity_alpha: float = 32.0
    diversity_gamma: float = 1.0
    similarity_temperature: float = 0.08

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (isinstance(value, (int, float)) and 0 <= value < float("inf")):  # nor NaN
                raise UserError(f"objective.{field.name} is {value}; at least 0")
        if self.similarity_temperature == 0:
            raise UserError("objective.similarity_temperature 0.0 must be > 0")
        if self.hard_pool < 1:
            raise UserError(f"objective.hard_pool is {self.hard_pool}; at least 1")


class Encoded(NamedTuple):
    """What the objective sees of a batch of B videos and Q queries."""

    query: Tensor  # (Q, D)
    labels: Tensor  # (Q,), the video of each query, or `PADDING`
    videos: VideoTokens
    registers: RegisterSample | None
    target: DiffusionTarget | None


class Objective(nn.Module):
    """Every loss term of a batch, and their weighted sum."""

    def __init__(self, config: ObjectiveConfig, padded_frames: PaddedFrames) -> None:
        super().__init__()
        self.config = config
        self.padded_frames: PaddedFrames = padded_frames

    def forward(self, batch: Encoded, hard_negatives: bool) -> dict[str, Tensor]:
        """Unweighted terms by name, and `total`, their weighted sum; all scalars in float32.

        Args:
            batch: the encoded batch.
            hard_negatives: whether the triplets use hard negatives.
        """
        with torch.autocast(batch.query.device.type, enabled=False):
            terms = self._retrieval(batch, hard_negatives) | self._structure(batch)
            if batch.registers is not None and batch.target is not None:
                target = DiffusionTarget(*map(full, batch.target))
                terms["kl"] = kl_to_standard_normal(batch.registers.mu, batch.registers.logvar)
                terms["diffusion"] = denoising_error(target.predicted, target.noise)
            weights = {name: getattr(self.config, f"{name}_weight", 1.0) for name in terms}
            total = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
            return terms | {"total": total}

    def _retrieval(self, batch: Encoded, hard_negatives: bool) -> dict[str, Tensor]:
        """NCE on dot products and triplets on cosines, at both scales."""
        c, query = self.config, full(batch.query)
        plain = token_scores(query, batch.videos, self.padded_frames)
        unit = F.normalize(query, dim=-1)
        cosine = token_scores(unit, batch.videos.normalised(), self.padded_frames)
        hard = (c.margin, hard_negatives, c.hard_pool)
        return {
            "clip_nce": nce(plain.clip, batch.labels),
            "frame_nce": nce(plain.frame, batch.labels),
            "clip_triplet": triplet(cosine.clip, batch.labels, *hard),
            "frame_triplet": triplet(cosine.frame, batch.labels, *hard),
        }

    def _structure(self, batch: Encoded) -> dict[str, Tensor]:
        """Textual semantic structure learning."""
        c, query = self.config, full(batch.query)
        shape = (c.diversity_delta, c.diversity_alpha, c.diversity_gamma)
        return {
            "diversity": diversity(query, batch.labels, *shape),
            "similarity": query_similarity(query, batch.labels, c.similarity_temperature),
        }
