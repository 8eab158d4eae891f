"""NCE and triplet ranking loss over the scores of a batch (docs/model.md, section 7).

Rows of padding among the queries (label `PADDED`) bring ragged batches to few sizes, which a
compiled loss needs. No term counts them.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dreamprvr.models.encoded import PADDED, EncodedBatch, Padding
from dreamprvr.models.scoring import scale_scores, unit_rows, unit_tokens

TERM_NAMES = {"clips": "clip", "frames": "frame"}  # scale -> how its loss terms are called


def is_query(labels: Tensor) -> Tensor:
    """Mark the queries of a batch; (Q,) -> (Q,) bool, False for padding."""
    return labels != PADDED


def mean_over_queries(values: Tensor, labels: Tensor) -> Tensor:
    """Average values (Q,) over the queries; at padding they must be finite, and do not count."""
    counted = is_query(labels)
    return values.where(counted, 0).sum() / counted.sum()


def nce(scores: Tensor, labels: Tensor) -> Tensor:
    """Query-to-video plus video-to-query noise-contrastive estimation.

    Args:
        scores: (Q, B), maximum over tokens of the plain dot products.
        labels: (Q,), the video of each query, or `PADDED`.

    Returns:
        Mean over queries of logsumexp_v s - s_pos, plus mean over videos of
        logsumexp_{all q} s - logsumexp_{its q} s. A video without a query counts as 0.
    """
    positive = scores.gather(1, labels.clamp(min=0)[:, None]).squeeze(1)
    query_term = mean_over_queries(torch.logsumexp(scores, dim=1) - positive, labels)
    scores = scores.masked_fill(~is_query(labels)[:, None], -torch.inf)
    videos = torch.arange(scores.shape[1], device=scores.device)
    own = labels[:, None] == videos  # (Q, B)
    asked = own.any(dim=0)
    own_total = torch.logsumexp(scores.masked_fill(~own, -torch.inf).where(asked, scores), dim=0)
    return query_term + (torch.logsumexp(scores, dim=0) - own_total).mean()


def random_choice(allowed: Tensor) -> Tensor:
    """Index of a random true entry of every row; (N, M) bool -> (N, 1)."""
    keys = torch.rand(allowed.shape, device=allowed.device)
    return keys.masked_fill(~allowed, -1.0).argmax(dim=1, keepdim=True)


def triplet(
    scores: Tensor, labels: Tensor, margin: float, hard_negatives: bool, hard_pool: int = 20
) -> Tensor:
    """Hinge of each video against one negative query and of each query against one negative video.

    Args:
        scores: (Q, B), maximum over tokens of the cosines.
        labels: (Q,), the video of each query, or `PADDED`; every video has at least one query.
        margin: m.
        hard_negatives: False draws negatives at random; True takes a video's hardest query, and
            for a query a random one of its `hard_pool` hardest videos.
        hard_pool: at most this many hardest videos are drawn from.

    Returns:
        Mean over videos of hinge(m + neg - mean of its queries' scores), plus mean over queries
        of hinge(m + neg - pos). 0 where there is a single video, so no negative.
    """
    num_queries, num_videos = scores.shape
    if num_videos == 1:
        return scores.sum() * 0
    own = labels[:, None] == torch.arange(num_videos, device=scores.device)  # (Q, B)
    other = is_query(labels)[:, None] & ~own
    positive = scores.gather(1, labels.clamp(min=0)[:, None])  # (Q, 1)

    mean_positive = (scores * own).sum(0) / own.sum(0)  # (B,)
    if hard_negatives:
        query_of_video = scores.masked_fill(~other, -torch.inf).max(dim=0).values
        hardest = scores.masked_fill(own, -torch.inf)
        pool = hardest.topk(min(hard_pool, num_videos - 1), dim=1).values
        chosen = torch.randint(pool.shape[1], (num_queries, 1), device=scores.device)
        video_of_query = pool.gather(1, chosen)
    else:
        query_of_video = scores.gather(0, random_choice(other.T).T).squeeze(0)
        video_of_query = scores.gather(1, random_choice(~own))
    video_term = (margin + query_of_video - mean_positive).clamp(min=0).mean()
    query_terms = (margin + video_of_query - positive).clamp(min=0).squeeze(1)
    return video_term + mean_over_queries(query_terms, labels)


def retrieval_terms(
    batch: EncodedBatch, padding: Padding, margin: float, hard_negatives: bool, hard_pool: int
) -> dict[str, Tensor]:
    """NCE on dot products and triplets on cosines, at every scale.

    Args:
        batch: the encoded batch.
        padding: as in `scoring.scale_scores`.
        margin: m of the triplets.
        hard_negatives: as in `triplet`.
        hard_pool: as in `triplet`.

    Returns:
        `clip_nce`, `frame_nce`, `clip_triplet` and `frame_triplet`.
    """
    labels = batch.labels
    products = scale_scores(batch.queries, batch.videos, padding)
    cosines = scale_scores(unit_rows(batch.queries), unit_tokens(batch.videos), padding)
    names = {scale: TERM_NAMES.get(scale, scale) for scale in products}
    contrastive = {f"{name}_nce": nce(products[scale], labels) for scale, name in names.items()}
    return contrastive | {
        f"{name}_triplet": triplet(cosines[scale], labels, margin, hard_negatives, hard_pool)
        for scale, name in names.items()
    }


def weighted_total(
    terms: Mapping[str, Tensor], config: Any, weights: Mapping[str, float]
) -> Tensor:
    """Add loss terms up by weight.

    Args:
        terms: scalars by name.
        config: settings; `<name>_weight` is the weight of a term.
        weights: weights of terms that the settings do not name; others weigh 1.
    """
    factors = [getattr(config, f"{name}_weight", weights.get(name, 1.0)) for name in terms]
    weighted = [factor * term for factor, term in zip(factors, terms.values(), strict=True)]
    return torch.stack(weighted).sum()
