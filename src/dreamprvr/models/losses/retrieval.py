"""Loss terms over the scores of a batch: NCE and triplet ranking (docs/model.md, section 7).

A compiled loss needs batches of few sizes, so the queries of a batch may be padded, with the label
`PADDED`. No term counts the padding.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dreamprvr.models.encoded import PADDED, EncodedBatch, Padding
from dreamprvr.models.scoring import product_rows, scale_scores, unit_rows, unit_tokens

ADDED = "added_scores"  # extra of a batch's queries
TERM_NAMES = {"clips": "clip", "frames": "frame"}  # name of a scale -> its name in loss terms


def is_query(labels: Tensor) -> Tensor:
    """Mark the queries of a batch; (Q,) -> (Q,) bool, False for padding."""
    return labels != PADDED


def mean_over_queries(values: Tensor, labels: Tensor) -> Tensor:
    """Average values (Q,) over the queries; those at padding do not count, but must be finite."""
    counted = is_query(labels)
    return values.where(counted, 0).sum() / counted.sum()


def nce(scores: Tensor, labels: Tensor) -> Tensor:
    """Compute the noise-contrastive estimation from query to video and from video to query.

    Args:
        scores: sums of maxima of the plain dot products, (Q, B).
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
    has_query = own.any(dim=0)
    own_total = torch.logsumexp(
        scores.masked_fill(~own, -torch.inf).where(has_query, scores), dim=0
    )
    return query_term + (torch.logsumexp(scores, dim=0) - own_total).mean()


def random_choice(allowed: Tensor) -> Tensor:
    """Draw the index of one true entry of every row; (N, M) bool -> (N, 1) int64."""
    keys = torch.rand(allowed.shape, device=allowed.device)
    return keys.masked_fill(~allowed, -1.0).argmax(dim=1, keepdim=True)


def triplet(
    scores: Tensor, labels: Tensor, margin: float, hard_negatives: bool, hard_pool: int = 20
) -> Tensor:
    """Compare each video with a negative query, and each query with a negative video, by a hinge.

    Args:
        scores: sums of maxima of the cosines, (Q, B).
        labels: (Q,), the video of each query, or `PADDED`; every video has at least one query.
        margin: m.
        hard_negatives: with False, negatives are drawn at random; with True, a video's negative is
            its hardest query, and a query's negative one of its `hard_pool` hardest videos.
        hard_pool: number of hardest videos that a query's negative is drawn from.

    Returns:
        Mean over videos of hinge(m + neg - mean of its queries' scores), plus mean over queries
        of hinge(m + neg - pos). 0 if there is a single video, which has no negative.
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
    """Compute the NCE of the dot products and the triplet term of the cosines at every scale.

    Args:
        batch: the encoded batch. The queries' extra `ADDED`, (Q, B), is added to all scores.
        padding: as for `scoring.scale_scores`.
        margin: m of the triplet terms.
        hard_negatives: as for `triplet`.
        hard_pool: as for `triplet`.

    Returns:
        The terms `clip_nce`, `frame_nce`, `clip_triplet` and `frame_triplet`.
    """
    labels = batch.labels
    products = scale_scores(product_rows(batch.queries), batch.videos, padding)
    cosines = scale_scores(unit_rows(batch.queries), unit_tokens(batch.videos), padding)
    if (added := batch.queries.extras.get(ADDED)) is not None:
        products = {name: scores + added for name, scores in products.items()}
        cosines = {name: scores + added for name, scores in cosines.items()}
    names = {scale: TERM_NAMES.get(scale, scale) for scale in products}
    contrastive = {f"{name}_nce": nce(products[scale], labels) for scale, name in names.items()}
    return contrastive | {
        f"{name}_triplet": triplet(cosines[scale], labels, margin, hard_negatives, hard_pool)
        for scale, name in names.items()
    }


def weighted_total(terms: Mapping[str, Tensor], config: Any) -> Tensor:
    """Add loss terms up by weight.

    Args:
        terms: scalars by name.
        config: settings of the loss; `<name>_weight` is the weight of a term, 1 if there is none.
    """
    factors = [getattr(config, f"{name}_weight", 1.0) for name in terms]
    weighted = [factor * term for factor, term in zip(factors, terms.values(), strict=True)]
    return torch.stack(weighted).sum()
