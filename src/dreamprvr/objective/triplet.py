"""Triplet ranking loss on cosines (model.md, section 7: triplet)."""

import torch
from torch import Tensor

from dreamprvr.objective.padding import is_query, mean_over_queries


def _random_choice(allowed: Tensor) -> Tensor:
    """Index of a random true entry of every row; (N, M) bool -> (N, 1)."""
    keys = torch.rand(allowed.shape, device=allowed.device)
    return keys.masked_fill(~allowed, -1.0).argmax(dim=1, keepdim=True)


def triplet(
    scores: Tensor, labels: Tensor, margin: float, hard_negatives: bool, hard_pool: int = 20
) -> Tensor:
    """Hinge of each video against one negative query and of each query against one negative video.

    Args:
        scores: (Q, B), maximum over tokens of the cosines.
        labels: (Q,), the video of each query, or `PADDING`; every video has at least one query.
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
        query_of_video = scores.gather(0, _random_choice(other.T).T).squeeze(0)
        video_of_query = scores.gather(1, _random_choice(~own))
    video_term = (margin + query_of_video - mean_positive).clamp(min=0).mean()
    query_terms = (margin + video_of_query - positive).clamp(min=0).squeeze(1)
    return video_term + mean_over_queries(query_terms, labels)
