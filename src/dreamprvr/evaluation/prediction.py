"""From scores to the best videos of a query, and when in them it happens."""

from typing import NamedTuple

import torch
from torch import Tensor

from dreamprvr.evaluation.gallery import Answer
from dreamprvr.evaluation.metrics import ranks, refuse_nan


class QueryHits(NamedTuple):
    """The best K videos of Q queries, best first."""

    query: Tensor  # (Q,) rows of the queries
    rank: Tensor  # (Q,) of the best true video among all videos, from 1; 0 where none is known
    video: Tensor  # (Q, K) rows of the videos
    score: Tensor  # (Q, K)
    best: dict[str, Tensor]  # by scale, (Q, K) index of the best token


def top_hits(
    answer: Answer, video_rows: Tensor, query_rows: Tensor, positives: Tensor, top_k: int
) -> QueryHits:
    """Pick the best videos, and rank the true ones among all.

    Args:
        answer: of Q queries and V videos.
        video_rows: (V,) rows of the gallery's videos.
        query_rows: (Q,) rows of the queries.
        positives: (Q, P) positions of the true videos in the gallery, padded with -1.
        top_k: K; at most V are returned.

    Raises:
        UserError: a score is NaN.
    """
    refuse_nan(answer.score, query_rows)
    rank = ranks(answer.score, positives).where((positives >= 0).any(dim=1), 0)
    best = torch.topk(answer.score, min(top_k, len(video_rows)), dim=1)
    tokens = {name: index.gather(1, best.indices).long() for name, index in answer.best.items()}
    return QueryHits(query_rows, rank, video_rows[best.indices], best.values, tokens)
