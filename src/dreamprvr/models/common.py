"""The settings and parts that all shipped models share (docs/model.md, sections 1 to 3 and 7)."""

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from dreamprvr.core.errors import UserError
from dreamprvr.models.contract import RetrievalModel
from dreamprvr.models.encoded import EncodedBatch, EncodedQueries, Padding, QueryRows
from dreamprvr.models.layers.basic import InputProjection, PositionEmbedding, at_least_float32
from dreamprvr.models.losses.retrieval import retrieval_terms, weighted_total
from dreamprvr.models.settings import check_settings


@dataclass(frozen=True)
class NetworkConfig:
    """Settings of the network that every model has.

    Args:
        hidden_size: D, the width of every token.
        num_heads: number of attention heads; it must divide `hidden_size`.
        num_clips: M_c, number of clips that every video is pooled to.
        max_frames: M_f, number of frames that a longer video is pooled to.
        max_words: number of words of a caption that are read.
        dropout: dropout probability in attention blocks and after position embeddings.
        input_dropout: dropout probability in the input projections.
        clip_weight: w_c, weight of the clips in the score.
        frame_weight: w_f, weight of the frames in the score.

    Raises:
        UserError: no network has such a value; the message names it and says what is allowed.
    """

    hidden_size: int = 384
    num_heads: int = 4
    num_clips: int = 32
    max_frames: int = 128
    max_words: int = 30
    dropout: float = 0.31
    input_dropout: float = 0.31
    clip_weight: float = 0.7
    frame_weight: float = 0.3

    def __post_init__(self) -> None:
        check_settings(
            self, "network",
            hidden_size=2, num_heads=1, num_clips=1, max_frames=1, max_words=1,
            clip_weight=0, frame_weight=0,
        )  # fmt: skip
        if self.hidden_size % self.num_heads:
            raise UserError(
                f"network.hidden_size {self.hidden_size} is not a multiple of "
                f"network.num_heads {self.num_heads}"
            )
        if self.hidden_size % 2:
            raise UserError(f"network.hidden_size {self.hidden_size} must be even")
        for name in ("dropout", "input_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"network.{name} is {getattr(self, name)}; from 0 to below 1")


@dataclass(frozen=True)
class RetrievalLossConfig:
    """Weights and constants of the loss terms that every model has.

    Args:
        clip_nce_weight: weight of the clip NCE.
        frame_nce_weight: weight of the frame NCE.
        margin: margin of the clip and the frame triplet term, which both have weight 1.
        hard_negatives_from: first epoch, counted from 0, that uses hard negatives.
        hard_pool: number of hardest videos that a query's hard negative is drawn from.

    Raises:
        UserError: no loss has such a value; the message names it and says what is allowed.
    """

    clip_nce_weight: float = 0.02
    frame_nce_weight: float = 0.04
    margin: float = 0.2
    hard_negatives_from: int = 20
    hard_pool: int = 20

    def __post_init__(self) -> None:
        least = {field.name: 0 for field in fields(self) if field.type in (int, float)}
        check_settings(self, "objective", **{**least, "hard_pool": 1})


class RetrievalObjective(nn.Module):
    """The loss terms that can be compiled, and their weighted sum (docs/model.md, section 7).

    Args:
        config: weights and constants of the terms.
        padding: how padded tokens take part in the maxima.
    """

    def __init__(self, config: RetrievalLossConfig, padding: Padding) -> None:
        super().__init__()
        self.config: Any = config
        self.padding: Padding = padding

    def forward(self, batch: EncodedBatch, hard_negatives: bool) -> dict[str, Tensor]:
        """Compute the unweighted terms by name, and `total`, their weighted sum.

        Args:
            batch: the encoded batch. An extra of the videos named `loss/<name>`, (B,), is a loss
                term with one value for each video; its mean is taken.
            hard_negatives: whether the triplet terms use hard negatives.

        Returns:
            Scalars in float32.
        """
        c, query = self.config, at_least_float32(batch.queries.embedding)
        with torch.autocast(query.device.type, enabled=False):
            terms = retrieval_terms(batch, self.padding, c.margin, hard_negatives, c.hard_pool)
            terms |= self.own_terms(query, batch.labels)
            for name, values in batch.videos.extras.items():
                if name.startswith("loss/"):
                    terms[name.removeprefix("loss/")] = values.mean()
            return terms | {"total": weighted_total(terms, c)}

    def own_terms(self, query: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Compute the terms over the queries that a model adds, by name.

        Args:
            query: embeddings of the queries, (Q, D).
            labels: (Q,), the video of each query, or `PADDED`.
        """
        raise NotImplementedError


class OneVectorModel(RetrievalModel):
    """Base of the models that encode a query as one vector, and a video as clips and frames.

    Args:
        video_dim: F, size of a video feature.
        text_dim: E, size of a word feature.
        network: settings of the network.
        objective: settings of the loss.
        query_encoder: the query branch, (Q, L, E) and (Q, L) -> (Q, D).
    """

    config: NetworkConfig

    def __init__(
        self,
        video_dim: int,
        text_dim: int,
        network: NetworkConfig,
        objective: Any,
        query_encoder: nn.Module,
    ) -> None:
        super().__init__(video_dim, text_dim, network, objective)
        size, dropout = network.hidden_size, network.dropout
        self.query_encoder = query_encoder
        self.clip_projection = InputProjection(video_dim, size, network.input_dropout)
        # the published code gives the clips as many positions as the frames
        self.clip_position = PositionEmbedding(
            max(network.num_clips, network.max_frames), size, dropout
        )
        self.frame_projection = InputProjection(video_dim, size, network.input_dropout)
        self.frame_position = PositionEmbedding(network.max_frames, size, dropout)

    @property
    def scale_weights(self) -> dict[str, float]:
        """w_c for the clips and w_f for the frames."""
        weights = {"clips": self.config.clip_weight, "frames": self.config.frame_weight}
        return {name: weights[name] for name in self.scales}

    def encode_queries(self, words: Tensor, word_mask: Tensor) -> EncodedQueries:
        """Encode captions as one vector each, which is compared with every scale."""
        embedding = self.query_encoder(words, word_mask)
        rows = QueryRows(embedding[:, None], embedding.new_ones(len(embedding), 1))
        return EncodedQueries(embedding, {name: rows for name in self.scales}, {})

    def embed_clips(self, clips: Tensor) -> Tensor:
        """Project the clips and add their positions; (B, M_c, F) -> (B, M_c, D)."""
        return self.clip_position(self.clip_projection(clips))

    def embed_frames(self, frames: Tensor) -> Tensor:
        """Project the frames and add their positions; (B, M_f, F) -> (B, M_f, D)."""
        return self.frame_position(self.frame_projection(frames))
