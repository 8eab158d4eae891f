"""The base of GMMFormer v2 and its descendants: Gaussian encoders for clips and frames.

DreamPRVR and GMMFormer v2 share these settings, parts and loss terms (docs/model.md, sections 5
to 7).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from dreamprvr.core.batch import TrainBatch
from dreamprvr.core.errors import UserError, check_range
from dreamprvr.models.common import (
    NetworkConfig,
    OneVectorModel,
    RetrievalLossConfig,
    RetrievalObjective,
)
from dreamprvr.models.contract import CompiledParts
from dreamprvr.models.encoded import (
    EncodedBatch,
    EncodedQueries,
    EncodedVideos,
    Padding,
    QueryRows,
    Scale,
    map_tensors,
)
from dreamprvr.models.losses.queries import diversity
from dreamprvr.models.losses.retrieval import ADDED
from dreamprvr.models.parts import LossTerm, PartSetting, Rescorer, build_part
from dreamprvr.models.settings import LARGEST

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
        frame_query_encoder: class of a second query encoder, which gives a row for each word; the
            rows are compared with the frames in place of the query's one vector. None for no
            second encoder; see `dreamprvr.models.parts`.
        rescorer: class of a score that is added to the sum of maxima; None for none. See
            `dreamprvr.models.parts`.
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
    frame_query_encoder: PartSetting | None = None
    rescorer: PartSetting | None = None
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


class Objective(RetrievalObjective):
    """The loss terms of all Gaussian models that can be compiled."""

    def own_terms(self, query: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Compute the query diversity."""
        c = self.config
        constants = (c.diversity_delta, c.diversity_alpha, c.diversity_gamma)
        return {"diversity": diversity(query, labels, *constants)}


def _check_weights(name: str, weight: object) -> None:
    """Refuse a further loss term with a weight that is negative or not finite."""
    weights = weight if isinstance(weight, Mapping) else {"": weight}
    for key, value in weights.items():
        place = f"objective.extra.{name}: weight" + (f" {key}" if key else "")
        check_range(place, value, 0, LARGEST)


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
        frame_query = network.frame_query_encoder
        self.frame_query_encoder: nn.Module | None = (
            build_part(frame_query, text_dim, network) if frame_query else None
        )
        self.rescorer: Rescorer | None = (
            build_part(network.rescorer, network, base=Rescorer) if network.rescorer else None
        )
        if frame_query and not hasattr(query_encoder, "position"):
            raise UserError("network.frame_query_encoder needs the `position` of the query encoder")
        extra: dict[str, LossTerm] = {
            name: build_part(part, base=LossTerm) for name, part in objective.extra.items()
        }
        for name, term in extra.items():
            _check_weights(name, term.weight)
            term.padding = self.padding
        self.extra_terms = nn.ModuleDict(extra)

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

    def encode_videos(self, clips: Tensor, frames: Tensor, frame_mask: Tensor) -> EncodedVideos:
        """Encode B videos; see `RetrievalModel.encode_videos`."""
        return EncodedVideos(self.gaussian_scales(self.embed_clips(clips), frames, frame_mask), {})

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

    def encode_queries(self, words: Tensor, word_mask: Tensor) -> EncodedQueries:
        """Encode captions; see `RetrievalModel.encode_queries`.

        Returns:
            With a `frame_query_encoder`, its rows are those of the frames, and the extra
            `word_mask`, (Q, L), marks the words among them.
        """
        queries = super().encode_queries(words, word_mask)
        if self.frame_query_encoder is None:
            return queries
        rows: QueryRows = self.frame_query_encoder(words, word_mask, self.query_encoder.position)
        return queries._replace(
            rows={**queries.rows, "frames": rows}, extras={"word_mask": word_mask}
        )

    def encode_batch(self, batch: TrainBatch) -> EncodedBatch:
        """Encode a training batch, and average the words of captions if a loss term needs it."""
        encoded = self.encode_pairs(batch)
        if not any(term.takes_sentences for term in self.extra_terms.values()):
            return encoded
        words, mask = batch.queries.words, batch.queries.word_mask[..., None]
        sentences = (words * mask).sum(dim=1) / mask.sum(dim=1)
        extras = {**encoded.queries.extras, "sentences": sentences}
        return encoded._replace(queries=encoded.queries._replace(extras=extras))

    def encode_pairs(self, batch: TrainBatch) -> EncodedBatch:
        """Encode the queries and videos of a training batch."""
        return super().encode_batch(batch)

    @property
    def rescores(self) -> bool:
        """True if there is a `rescorer`."""
        return self.rescorer is not None

    def rescore(self, queries: EncodedQueries, videos: EncodedVideos, scores: Tensor) -> Tensor:
        """Add the score of the `rescorer`; see `RetrievalModel.rescore`."""
        if self.rescorer is None:
            return scores
        return scores + self.rescorer.weight * self.rescorer(queries, videos)

    def losses(self, batch: EncodedBatch, epoch: int) -> dict[str, Tensor]:
        """Compute all loss terms; see `RetrievalModel.losses`."""
        hard_negatives = epoch >= self.objective_config.hard_negatives_from
        if self.rescorer is None:
            return self._with_further_terms(self.objective(batch, hard_negatives), batch, epoch)
        rescorer, c = self.rescorer, self.objective_config
        alone = epoch < rescorer.alone_until
        if alone:
            batch = map_tensors(Tensor.detach, batch)
        with torch.autocast(batch.labels.device.type, enabled=False):
            scores = rescorer(batch.queries, batch.videos)
            own = rescorer.losses(batch, scores, c.margin, hard_negatives, c.hard_pool)
            total = torch.stack([rescorer.term_weights[name] * own[name] for name in own]).sum()
        if alone:
            return own | {"total": total}
        if weight := rescorer.fused_weight(epoch):
            extras = {**batch.queries.extras, ADDED: weight * scores}
            batch = batch._replace(queries=batch.queries._replace(extras=extras))
        terms = self._with_further_terms(self.objective(batch, hard_negatives), batch, epoch)
        return terms | own | {"total": terms["total"] + total}

    def _with_further_terms(
        self, terms: dict[str, Tensor], batch: EncodedBatch, epoch: int
    ) -> dict[str, Tensor]:
        """Add the terms that are not compiled."""
        with torch.autocast(batch.labels.device.type, enabled=False):
            further = self.further_terms(batch, epoch)
            for name, (weight, value) in further.items():
                terms |= {name: value, "total": terms["total"] + weight * value}
        return terms

    def further_terms(self, batch: EncodedBatch, epoch: int) -> dict[str, tuple[float, Tensor]]:
        """Compute the terms of `objective.extra`; a model adds terms that cannot be compiled.

        The terms are named as in that setting. One that gives several terms names them
        `<name>_<its own name>`.

        Args:
            batch: the encoded batch of all processes together.
            epoch: number of the epoch, counted from 0.

        Returns:
            The weight and the unweighted value of each term by its name.
        """
        terms: dict[str, tuple[float, Tensor]] = {}
        for name, module in self.extra_terms.items():
            weight: float | Mapping[str, float] = module.weight  # type: ignore[assignment]
            values = module(batch, epoch)
            if isinstance(weight, Mapping):
                terms |= {f"{name}_{key}": (weight[key], values[key]) for key in values}
            else:
                terms[name] = (weight, values)
        return terms

    def compiled_parts(self) -> CompiledParts:
        """Name the query branch, the two Gaussian encoders and the objective."""
        return CompiledParts(
            queries=[(self.query_encoder, "forward")],
            losses=[(self.objective, "forward")],
            others=[(self.clip_encoder, "forward"), (self.frame_encoder, "forward")],
        )
