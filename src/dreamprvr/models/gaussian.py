"""The base of GMMFormer v2 and its descendants: Gaussian encoders for clips and frames.

DreamPRVR and GMMFormer v2 share these settings, parts and loss terms (docs/model.md, sections 5
to 7).
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from dreamprvr.core.errors import UserError
from dreamprvr.models.common import NetworkConfig, OneVectorModel, RetrievalLossConfig
from dreamprvr.models.contract import CompiledParts
from dreamprvr.models.encoded import EncodedBatch, Padding, Scale
from dreamprvr.models.layers.basic import at_least_float32
from dreamprvr.models.losses.queries import diversity
from dreamprvr.models.losses.retrieval import retrieval_terms, weighted_total
from dreamprvr.models.parts import LossTerm, PartSetting, build_part

QUERY_ENCODER = "dreamprvr.models.layers.query.QueryEncoder"
GAUSSIAN_ENCODER = "dreamprvr.models.layers.gaussian.GaussianEncoder"
AGGREGATION = "dreamprvr.models.layers.gaussian.AdaptiveAggregation"


@dataclass(frozen=True)
class GaussianConfig(NetworkConfig):
    """Settings of the network that the Gaussian models share, beside those of `NetworkConfig`.

    Args:
        gaussian_widths: widths of the Gaussian windows; each makes one attention branch, beside
            the branch without a window (docs/model.md, section 5).
        softmax_temperature: temperature of the softmax over the branches in the aggregation.
        padded_frames: with `zero`, padded frames take part in the maximum over frames with cosine
            0; with `ignore`, they take no part.
        query_encoder: class of the query branch; see `dreamprvr.models.parts`.
        gaussian_encoder: class of the encoder of the clips and of that of the frames; see
            `dreamprvr.models.parts`.
        aggregation: class that joins the branches of an encoder; see `dreamprvr.models.parts`.

    Raises:
        UserError: no network has such a value; the message names it and says what is allowed.
    """

    gaussian_widths: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
    softmax_temperature: float = 0.6
    padded_frames: Padding = "zero"
    query_encoder: PartSetting = QUERY_ENCODER
    gaussian_encoder: PartSetting = GAUSSIAN_ENCODER
    aggregation: PartSetting = AGGREGATION

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.softmax_temperature > 0:
            raise UserError(f"network.softmax_temperature {self.softmax_temperature} must be > 0")
        if not all(width > 0 for width in self.gaussian_widths):
            raise UserError(f"network.gaussian_widths {self.gaussian_widths} must all be > 0")


@dataclass(frozen=True)
class GaussianLossConfig(RetrievalLossConfig):
    """Weights and constants of the loss terms that the Gaussian models share.

    Args:
        diversity_weight: weight of the diversity term.
        diversity_delta: delta of the diversity term.
        diversity_alpha: alpha of the diversity term.
        diversity_gamma: gamma of the diversity term.
        extra: further loss terms by name; each is a class with the interface of
            `dreamprvr.models.parts.LossTerm`.
    """

    diversity_weight: float = 0.003
    diversity_delta: float = 0.2
    diversity_alpha: float = 32.0
    diversity_gamma: float = 1.0
    extra: dict[str, PartSetting] = field(default_factory=dict)


class Objective(nn.Module):
    """All loss terms of a batch, and their weighted sum (docs/model.md, section 7).

    Args:
        config: weights and constants of the terms.
        padding: how padded frames take part in the maxima; see `GaussianConfig.padded_frames`.
    """

    def __init__(self, config: GaussianLossConfig, padding: Padding) -> None:
        super().__init__()
        self.config = config
        self.padding: Padding = padding
        extra: dict[str, LossTerm] = {name: build_part(part) for name, part in config.extra.items()}
        self.extra = nn.ModuleDict(extra)
        self.extra_weights = {name: float(term.weight) for name, term in extra.items()}

    def forward(self, batch: EncodedBatch, hard_negatives: bool) -> dict[str, Tensor]:
        """Compute the unweighted terms by name, and `total`, their weighted sum.

        Args:
            batch: the encoded batch. An extra of the videos named `loss/<name>`, (B,), is a loss
                term of one value a video; its mean is taken.
            hard_negatives: whether the triplet terms use hard negatives.

        Returns:
            Scalars in float32.
        """
        c = self.config
        query, labels = at_least_float32(batch.queries.embedding), batch.labels
        with torch.autocast(query.device.type, enabled=False):
            terms = retrieval_terms(batch, self.padding, c.margin, hard_negatives, c.hard_pool)
            terms["diversity"] = diversity(
                query, labels, c.diversity_delta, c.diversity_alpha, c.diversity_gamma
            )
            terms |= self.own_terms(query, labels)
            for name, values in batch.videos.extras.items():
                if name.startswith("loss/"):
                    terms[name.removeprefix("loss/")] = values.mean()
            for name, term in self.extra.items():
                terms[name] = term(batch, hard_negatives)
            return terms | {"total": weighted_total(terms, c, self.extra_weights)}

    def own_terms(self, query: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Compute the terms by name that one model adds; none by default.

        Args:
            query: embeddings of the queries, (Q, D).
            labels: (Q,), the video of each query, or `PADDED`.
        """
        return {}


class GaussianModel(OneVectorModel):
    """Base of the models with one Gaussian encoder for the clips and one for the frames."""

    config: GaussianConfig
    objective: Objective

    def __init__(
        self, video_dim: int, text_dim: int, network: GaussianConfig, objective: GaussianLossConfig
    ) -> None:
        query_encoder = build_part(network.query_encoder, text_dim, network)
        super().__init__(video_dim, text_dim, network, objective, query_encoder)
        self.padding = network.padded_frames

    def add_encoders(self, num_registers: int = 0) -> None:
        """Make the two encoders.

        This is no part of `__init__`, because the order in which the parts of a model are made
        decides their initial weights.

        Args:
            num_registers: R; 0 for a model without registers.
        """
        self.clip_encoder = self._encoder(self.config.num_clips, num_registers)
        self.frame_encoder = self._encoder(self.config.max_frames, num_registers)

    def _encoder(self, length: int, num_registers: int) -> nn.Module:
        config = self.config
        aggregation = build_part(config.aggregation, length, config)
        encoder: nn.Module = build_part(
            config.gaussian_encoder, length, config, num_registers, aggregation
        )
        return encoder

    def gaussian_scales(
        self,
        clip_tokens: Tensor,
        frames: Tensor,
        frame_mask: Tensor,
        registers: Tensor | None = None,
        token: Tensor | None = None,
    ) -> dict[str, Scale]:
        """Encode the clips and the frames.

        Args:
            clip_tokens: clips from `embed_clips`, (B, M_c, D).
            frames: features of the frames, (B, M_f, F).
            frame_mask: (B, M_f), 1 for a frame and 0 for padding.
            registers: registers of the videos, (B, R, D), or None.
            token: learned token that asks the branches, (1, 1, D); None takes each video's mean.

        Returns:
            The scales `clips` and `frames`.
        """
        encoded = self.frame_encoder(self.embed_frames(frames), registers, frame_mask, token)
        return {
            "clips": Scale(self.clip_encoder(clip_tokens, registers, None, token)),
            "frames": Scale(encoded * frame_mask[..., None], frame_mask),
        }

    def losses(self, batch: EncodedBatch, epoch: int) -> dict[str, Tensor]:
        """Compute all loss terms; see `RetrievalModel.losses`."""
        return self.objective(batch, epoch >= self.objective.config.hard_negatives_from)

    def compiled_parts(self) -> CompiledParts:
        """Name the query branch, the two Gaussian encoders and the objective."""
        return CompiledParts(
            queries=[(self.query_encoder, "forward")],
            losses=[(self.objective, "forward")],
            others=[(self.clip_encoder, "forward"), (self.frame_encoder, "forward")],
        )
