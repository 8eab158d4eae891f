"""MS-SL: all windows of clips, and frames guided by the best of them (docs/models/ms_sl.md)."""

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from dreamprvr.models.contract import RetrievalModel, TokenSpans
from dreamprvr.models.encoded import EncodedBatch, EncodedQueries, EncodedVideos, QueryRows, Scale
from dreamprvr.models.layers.attention import OutputAttentionBlock
from dreamprvr.models.layers.basic import (
    InputProjection,
    PositionEmbedding,
    at_least_float32,
    initialize,
    unit,
)
from dreamprvr.models.layers.query import QueryEncoder
from dreamprvr.models.losses.retrieval import (
    is_query,
    mean_over_queries,
    nce,
    triplet,
    weighted_total,
)
from dreamprvr.models.ms_sl.published import FORMAT
from dreamprvr.models.scoring import best_sum, token_products
from dreamprvr.models.settings import check_network, check_objective, check_settings

MASKED = -1e9  # score of a padded frame in the guided attention


@dataclass(frozen=True)
class MSSLConfig:
    """Settings of the network; the defaults are the published ActivityNet model.

    Args:
        hidden_size: D, the width of every token.
        num_heads: attention heads; divides `hidden_size`.
        num_clips: M_c, clips that a video is pooled to.
        max_frames: M_f, frames that a longer video is pooled to.
        max_words: words of a caption that are read.
        dropout: inside attention blocks and after position embeddings.
        input_dropout: in the input projections.
        clip_weight: w_c of the score.
        frame_weight: w_f of the score.

    Raises:
        UserError: a value makes no network; names it and what is allowed.
    """

    hidden_size: int = 384
    num_heads: int = 4
    num_clips: int = 32
    max_frames: int = 128
    max_words: int = 30
    dropout: float = 0.1
    input_dropout: float = 0.1
    clip_weight: float = 0.7
    frame_weight: float = 0.3

    def __post_init__(self) -> None:
        check_settings(
            self, "network",
            hidden_size=2, num_heads=1, num_clips=1, max_frames=1, max_words=1,
            clip_weight=0, frame_weight=0,
        )  # fmt: skip
        check_network(self)


@dataclass(frozen=True)
class ObjectiveConfig:
    """Weights and constants of the loss terms, for all three benchmarks but for the margin.

    Args:
        clip_nce_weight: weight of the clip NCE.
        frame_nce_weight: weight of the frame NCE.
        margin: margin of the triplet terms, whose weight is 1; .1 for TVR.
        hard_negatives_from: first epoch (from 0) with hard negatives.
        hard_pool: a negative is drawn from this many hardest.
        mask_same_video: leave other queries of the same video out of the negatives of the frame
            terms. The published code counts them as negatives.
    """

    clip_nce_weight: float = 0.02
    frame_nce_weight: float = 0.04
    margin: float = 0.2
    hard_negatives_from: int = 20
    hard_pool: int = 20
    mask_same_video: bool = False

    def __post_init__(self) -> None:
        check_objective(self)


class MSSL(RetrievalModel):
    """Multi-scale similarity learning: the score of the best window, and of frames that it guides.

    The tokens of the scale `clips` are the *proposals*: the means of every k consecutive clips, for
    every k. The score adds to their maximum what the best proposal, the key clip, finds among the
    frames; that part is no maximum, so `rescore` adds it.

    Args:
        video_dim: F, size of a video feature.
        text_dim: E, size of a word feature.
        network: settings of the network.
        objective: settings of the loss.
    """

    network_settings = MSSLConfig
    objective_settings = ObjectiveConfig
    published = FORMAT
    scales = ("clips",)
    kept = ("lengths", "keys", "values", "frame_mask")
    config: MSSLConfig
    objective_config: ObjectiveConfig

    def __init__(
        self,
        video_dim: int,
        text_dim: int,
        network: MSSLConfig = MSSLConfig(),
        objective: ObjectiveConfig = ObjectiveConfig(),
    ) -> None:
        super().__init__(video_dim, text_dim, network, objective)
        size, dropout = network.hidden_size, network.dropout
        blocks = [OutputAttentionBlock(size, network.num_heads, dropout) for _ in range(3)]
        self.query_encoder = QueryEncoder(text_dim, network, blocks[0])
        self.clip_projection = InputProjection(video_dim, size, network.input_dropout)
        self.clip_position = PositionEmbedding(
            max(network.num_clips, network.max_frames), size, dropout
        )
        self.frame_projection = InputProjection(video_dim, size, network.input_dropout)
        self.frame_position = PositionEmbedding(network.max_frames, size, dropout)
        self.clip_block, self.frame_block = blocks[1:]
        self.key = nn.Linear(size, size, bias=False)
        self.value = nn.Linear(size, size, bias=False)
        initialize(self)

    @property
    def scale_weights(self) -> dict[str, float]:
        """w_c; the frames are no scale, see `rescore`."""
        return {"clips": self.config.clip_weight}

    def encode_queries(self, words: Tensor, word_mask: Tensor) -> EncodedQueries:
        """Encode captions as one vector each."""
        embedding = self.query_encoder(words, word_mask)
        rows = QueryRows(embedding[:, None], embedding.new_ones(len(embedding), 1))
        return EncodedQueries(embedding, {"clips": rows}, {})

    def encode_videos(self, clips: Tensor, frames: Tensor, frame_mask: Tensor) -> EncodedVideos:
        """Encode B videos; see `RetrievalModel.encode_videos`.

        Returns:
            The proposals (B, P, D), and among the extras their `lengths` (B, P), which `rescore`
            needs beside their directions, and the frames' `keys` and `values`, (B, M_f, D).
        """
        clip_tokens = self.clip_block(self.clip_position(self.clip_projection(clips)))
        frame_tokens = self.frame_position(self.frame_projection(frames))
        frame_tokens = self.frame_block(frame_tokens, mask=frame_mask)
        proposals = window_means(clip_tokens)
        extras = {
            "lengths": at_least_float32(proposals).norm(dim=-1),
            "keys": self.key(frame_tokens),
            "values": self.value(frame_tokens),
            "frame_mask": frame_mask,
        }
        return EncodedVideos({"clips": Scale(proposals)}, extras)

    def rescore(self, queries: EncodedQueries, videos: EncodedVideos, scores: Tensor) -> Tensor:
        """Add the frame score; see `RetrievalModel.rescore`."""
        query, proposals = unit(queries.embedding), videos.scales["clips"].tokens
        best = token_products(query, proposals).argmax(dim=-1)  # (Q, B), the key clips
        result = scores.clone()
        for video in range(scores.shape[1]):
            key = proposals[video, best[:, video]]  # (Q, D) of unit length
            key = (
                at_least_float32(key)
                * at_least_float32(videos.extras["lengths"][video])[best[:, video], None]
            )
            keys, values, mask = (
                videos.extras[name][video] for name in ("keys", "values", "frame_mask")
            )
            found = attend_frames(key, at_least_float32(keys), at_least_float32(values), mask)
            frame = (query * unit(found)).sum(dim=-1)
            result[:, video] += self.config.frame_weight * frame
        return result

    def token_spans(self, scale: str) -> TokenSpans:
        """A proposal covers its window of clips; see `RetrievalModel.token_spans`."""
        count = self.config.num_clips
        spans = [
            (start, start + size)
            for size in range(1, count + 1)
            for start in range(count - size + 1)
        ]
        return TokenSpans("clips", spans)

    def losses(self, batch: EncodedBatch, epoch: int) -> dict[str, Tensor]:
        """Compute all loss terms; see `RetrievalModel.losses`.

        The frame terms are between queries: query i against what query j finds in its own video.
        """
        c, labels = self.objective_config, batch.labels
        hard = (c.margin, epoch >= c.hard_negatives_from, c.hard_pool)
        with torch.autocast(labels.device.type, enabled=False):
            query, scale = at_least_float32(batch.queries.embedding), batch.videos.scales["clips"]
            rows = batch.queries.rows["clips"]
            cosine_rows = rows._replace(vectors=unit(rows.vectors))
            cosines = best_sum(cosine_rows, Scale(unit(scale.tokens)), self.padding)
            found = self._own_frames(batch)
            pairs = torch.arange(len(query), device=query.device)
            excluded = self._excluded(labels)
            products, frame_cosines = query @ found.T, unit(query) @ unit(found).T
            terms = {
                "clip_nce": nce(best_sum(rows, scale, self.padding), labels),
                "frame_nce": pair_nce(products, labels, excluded),
                "clip_triplet": triplet(cosines, labels, *hard),
                "frame_triplet": pair_triplet(frame_cosines, pairs, labels, excluded, *hard),
            }
            return terms | {"total": weighted_total(terms, c, {})}

    def _own_frames(self, batch: EncodedBatch) -> Tensor:
        """What each query finds among the frames of its own video, (Q, D)."""
        query, known = unit(batch.queries.embedding), batch.labels.clamp(min=0)
        proposals = at_least_float32(batch.videos.scales["clips"].tokens)[known]  # (Q, P, D)
        best = torch.einsum("qd,qpd->qp", query, unit(proposals)).argmax(dim=-1)
        key = proposals[torch.arange(len(query), device=query.device), best]
        extras = batch.videos.extras
        return attend_frames(
            key, at_least_float32(extras["keys"])[known], at_least_float32(extras["values"])[known],
            extras["frame_mask"][known],
        )  # fmt: skip

    def _excluded(self, labels: Tensor) -> Tensor:
        """(Q, Q) bool: pairs of different queries that are no negatives of each other."""
        padding = ~is_query(labels)[None] | ~is_query(labels)[:, None]
        itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        if self.objective_config.mask_same_video:
            padding = padding | (labels[:, None] == labels)
        return padding & ~itself


def window_means(tokens: Tensor) -> Tensor:
    """Average every k consecutive tokens, for k = 1 to M, in the order of k, then left to right.

    Args:
        tokens: (B, M, D).

    Returns:
        (B, M (M + 1) / 2, D).
    """
    columns = rearrange(tokens, "b m d -> b d m")
    means = [F.avg_pool1d(columns, k, stride=1) for k in range(1, tokens.shape[1] + 1)]
    return rearrange(torch.cat(means, dim=2), "b d p -> b p d")


def attend_frames(key: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """Attend to frames from key clips, one a query.

    Args:
        key: g, (Q, D).
        keys: K f, (Q, M, D), or (M, D) for all queries.
        values: V f, of the same shape.
        mask: (Q, M) or (M,), 1 for a frame.

    Returns:
        (Q, D).
    """
    if keys.dim() == 2:
        logits = key @ keys.T
        weights = torch.softmax(logits.masked_fill(mask == 0, MASKED), dim=-1)
        return weights @ values
    logits = torch.einsum("qd,qmd->qm", key, keys)
    weights = torch.softmax(logits.masked_fill(mask == 0, MASKED), dim=-1)
    return torch.einsum("qm,qmd->qd", weights, values)


def pair_nce(products: Tensor, labels: Tensor, excluded: Tensor) -> Tensor:
    """Contrast query i and what query j found, pairs i = j being positive, in both directions.

    The positive stands twice under the sum, as in the published code.

    Args:
        products: (Q, Q).
        labels: (Q,), the video of each query, or `PADDED`.
        excluded: (Q, Q) bool, pairs that are no negatives.

    Returns:
        Mean over i of log( sum_j e^X[i, j] + sum_j e^X[j, i] ) - X[i, i].
    """
    products = products.masked_fill(excluded, -torch.inf)
    both = torch.cat([products, products.T], dim=1)
    return mean_over_queries(
        torch.where(is_query(labels), torch.logsumexp(both, dim=1) - products.diagonal(), 0.0),
        labels,
    )


def pair_triplet(
    cosines: Tensor,
    pairs: Tensor,
    labels: Tensor,
    excluded: Tensor,
    margin: float,
    hard_negatives: bool,
    hard_pool: int,
) -> Tensor:
    """Hinge of each pair against a negative of its row and one of its column.

    Args:
        cosines: (Q, Q).
        pairs: (Q,), 0 to Q - 1.
        labels: (Q,), the video of each query, or `PADDED`.
        excluded: (Q, Q) bool, pairs that are no negatives.
        margin: m.
        hard_negatives: draw from the `hard_pool` hardest, not from all.
        hard_pool: at most this many hardest are drawn from.
    """
    own = pairs[:, None] == pairs
    total = cosines.sum() * 0
    for table, left_out in ((cosines, excluded), (cosines.T, excluded.T)):
        allowed = ~own & ~left_out
        has_negative = allowed.any(dim=1)
        if hard_negatives:
            pool = table.masked_fill(~allowed, -torch.inf)
            pool = pool.topk(min(hard_pool, len(pairs)), dim=1).values
            count = pool.isfinite().sum(dim=1, keepdim=True).clamp(min=1)
            drawn = (torch.rand(len(pairs), 1, device=table.device) * count).long()
            negative = pool.gather(1, drawn.clamp(max=pool.shape[1] - 1)).squeeze(1)
        else:
            keys = torch.rand(table.shape, device=table.device).masked_fill(~allowed, -1.0)
            negative = table.gather(1, keys.argmax(dim=1, keepdim=True)).squeeze(1)
        hinge = (margin + negative - table.diagonal()).clamp(min=0)
        total = total + mean_over_queries(hinge.where(has_negative, 0), labels)
    return total
