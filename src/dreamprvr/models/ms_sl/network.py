"""MS-SL: all windows of clips, and frames guided by the best of them (docs/models/ms_sl.md)."""

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from dreamprvr.models.common import NetworkConfig, OneVectorModel, RetrievalLossConfig
from dreamprvr.models.contract import TokenSpans
from dreamprvr.models.encoded import EncodedBatch, EncodedQueries, EncodedVideos, Scale
from dreamprvr.models.layers.attention import OutputAttentionBlock
from dreamprvr.models.layers.basic import at_least_float32, initialize, unit
from dreamprvr.models.layers.query import QueryEncoder
from dreamprvr.models.losses.retrieval import (
    is_query,
    mean_over_queries,
    nce,
    random_choice,
    triplet,
    weighted_total,
)
from dreamprvr.models.ms_sl.published import FORMAT
from dreamprvr.models.scoring import best_sum, token_products

MASKED = -1e9  # logit of a padded frame in the guided attention


@dataclass(frozen=True)
class MSSLConfig(NetworkConfig):
    """Settings of the network; the defaults are those for ActivityNet Captions."""

    dropout: float = 0.1
    input_dropout: float = 0.1


@dataclass(frozen=True)
class ObjectiveConfig(RetrievalLossConfig):
    """Weights and constants of the loss terms; TVR takes the margin 0.1.

    Args:
        mask_same_video: leave other queries of the same video out of the negatives of the frame
            terms. The published code counts them as negatives.
    """

    mask_same_video: bool = False


class MSSL(OneVectorModel):
    """Multi-scale similarity learning: the best window of clips, and the frames it attends to.

    The tokens of the scale `clips` are the *proposals*: the means of every k consecutive clips, for
    every k. The best proposal of a query and a video is their *key clip*. The score adds to the
    cosine of the key clip the cosine of what the key clip finds among the frames. This second part
    is no maximum over tokens, so `rescore` adds it.

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
        size = network.hidden_size
        blocks = [OutputAttentionBlock(size, network.num_heads, network.dropout) for _ in range(3)]
        query_encoder = QueryEncoder(text_dim, network, blocks[0])
        super().__init__(video_dim, text_dim, network, objective, query_encoder)
        self.clip_block, self.frame_block = blocks[1:]
        self.key = nn.Linear(size, size, bias=False)
        self.value = nn.Linear(size, size, bias=False)
        initialize(self)

    def encode_videos(self, clips: Tensor, frames: Tensor, frame_mask: Tensor) -> EncodedVideos:
        """Encode B videos; see `RetrievalModel.encode_videos`.

        Returns:
            The P proposals of each video, (B, P, D). The extras are what `rescore` needs: the
            `lengths` of the proposals (B, P), the `keys` and `values` of the frames, (B, M_f, D)
            each, and the `frame_mask` (B, M_f).
        """
        proposals = window_means(self.clip_block(self.embed_clips(clips)))
        frame_tokens = self.frame_block(self.embed_frames(frames), mask=frame_mask)
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
        extras = {name: at_least_float32(videos.extras[name]) for name in self.kept}
        result = scores.clone()
        for video in range(scores.shape[1]):
            chosen = best[:, video]
            # the proposals are kept with unit length, and the attention needs their own length
            key = (
                at_least_float32(proposals[video, chosen]) * extras["lengths"][video, chosen, None]
            )
            attended = attend_frames(
                key, extras["keys"][video], extras["values"][video], extras["frame_mask"][video]
            )
            result[:, video] += self.config.frame_weight * (query * unit(attended)).sum(dim=-1)
        return result

    def token_spans(self, scale: str) -> TokenSpans:
        """List the windows of clips that the proposals cover; see `RetrievalModel.token_spans`."""
        count = self.config.num_clips
        spans = [
            (start, start + size)
            for size in range(1, count + 1)
            for start in range(count - size + 1)
        ]
        return TokenSpans("clips", spans)

    def losses(self, batch: EncodedBatch, epoch: int) -> dict[str, Tensor]:
        """Compute all loss terms; see `RetrievalModel.losses`.

        The frame terms compare queries with queries: query i with what query j finds in its own
        video (docs/models/ms_sl.md, section 5).
        """
        c, labels = self.objective_config, batch.labels
        hard = (c.margin, epoch >= c.hard_negatives_from, c.hard_pool)
        with torch.autocast(labels.device.type, enabled=False):
            query, scale = at_least_float32(batch.queries.embedding), batch.videos.scales["clips"]
            rows = batch.queries.rows["clips"]
            cosine_rows = rows._replace(vectors=unit(rows.vectors))
            cosines = best_sum(cosine_rows, Scale(unit(scale.tokens)), self.padding)
            attended = self._own_frames(batch)
            excluded = self._excluded(labels)
            products, frame_cosines = query @ attended.T, unit(query) @ unit(attended).T
            terms = {
                "clip_nce": nce(best_sum(rows, scale, self.padding), labels),
                "frame_nce": pair_nce(products, labels, excluded),
                "clip_triplet": triplet(cosines, labels, *hard),
                "frame_triplet": pair_triplet(frame_cosines, labels, excluded, *hard),
            }
            return terms | {"total": weighted_total(terms, c)}

    def _own_frames(self, batch: EncodedBatch) -> Tensor:
        """Attend from each query's key clip to the frames of the query's own video; (Q, D)."""
        query, known = unit(batch.queries.embedding), batch.labels.clamp(min=0)
        proposals = at_least_float32(batch.videos.scales["clips"].tokens)[known]  # (Q, P, D)
        best = torch.einsum("qd,qpd->qp", query, unit(proposals)).argmax(dim=-1)
        key = proposals[torch.arange(len(query), device=query.device), best]
        extras = batch.videos.extras
        return attend_frames(
            key, at_least_float32(extras["keys"])[known],
            at_least_float32(extras["values"])[known], extras["frame_mask"][known],
        )  # fmt: skip

    def _excluded(self, labels: Tensor) -> Tensor:
        """Mark the pairs of different queries that are no negatives of each other, (Q, Q) bool."""
        padding = ~is_query(labels)[None] | ~is_query(labels)[:, None]
        itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        if self.objective_config.mask_same_video:
            padding = padding | (labels[:, None] == labels)
        return padding & ~itself


def window_means(tokens: Tensor) -> Tensor:
    """Average every k consecutive tokens, for k = 1 to M; ordered by k, then from left to right.

    Args:
        tokens: (B, M, D).

    Returns:
        (B, M (M + 1) / 2, D).
    """
    columns = rearrange(tokens, "b m d -> b d m")
    means = [F.avg_pool1d(columns, k, stride=1) for k in range(1, tokens.shape[1] + 1)]
    return rearrange(torch.cat(means, dim=2), "b d p -> b p d")


def attend_frames(key: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """Attend from the key clip of each query to frames.

    Args:
        key: g, the key clips, (Q, D).
        keys: K f, (Q, M, D), or (M, D) where all queries attend to the same frames.
        values: V f, of the same shape as `keys`.
        mask: (Q, M) or (M,), 1 for a frame and 0 for padding.

    Returns:
        (Q, D).
    """
    dims = "md" if keys.dim() == 2 else "qmd"
    logits = torch.einsum(f"qd,{dims}->qm", key, keys).masked_fill(mask == 0, MASKED)
    return torch.einsum(f"qm,{dims}->qd", torch.softmax(logits, dim=-1), values)


def pair_nce(products: Tensor, labels: Tensor, excluded: Tensor) -> Tensor:
    """Contrast each query with what the other queries found, and what it found with them.

    The pairs i = j are positive. A positive stands twice under the sum, as in the published code.

    Args:
        products: product of query i and what query j found, (Q, Q).
        labels: the video of each query, or `PADDED`, (Q,).
        excluded: pairs that are no negatives, (Q, Q) bool.

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
    labels: Tensor,
    excluded: Tensor,
    margin: float,
    hard_negatives: bool,
    hard_pool: int,
) -> Tensor:
    """Sum the hinges of each pair i = j against one negative of its row and one of its column.

    Args:
        cosines: cosine of query i and what query j found, (Q, Q).
        labels: the video of each query, or `PADDED`, (Q,).
        excluded: pairs that are no negatives, (Q, Q) bool.
        margin: m.
        hard_negatives: draw from the `hard_pool` hardest negatives instead of from all.
        hard_pool: number of hardest negatives that one is drawn from.

    Returns:
        A scalar, the mean over the queries of both hinges. A row without a negative counts as 0.
    """
    count = len(cosines)
    own = torch.eye(count, dtype=torch.bool, device=cosines.device)
    total = cosines.sum() * 0
    for table, left_out in ((cosines, excluded), (cosines.T, excluded.T)):
        allowed = ~own & ~left_out
        has_negative = allowed.any(dim=1)
        if hard_negatives:
            pool = table.masked_fill(~allowed, -torch.inf)
            pool = pool.topk(min(hard_pool, count), dim=1).values
            size = pool.isfinite().sum(dim=1, keepdim=True).clamp(min=1)
            drawn = (torch.rand(count, 1, device=table.device) * size).long()
            negative = pool.gather(1, drawn.clamp(max=pool.shape[1] - 1)).squeeze(1)
        else:
            negative = table.gather(1, random_choice(allowed)).squeeze(1)
        hinge = (margin + negative - table.diagonal()).clamp(min=0)
        total = total + mean_over_queries(hinge.where(has_negative, 0), labels)
    return total
