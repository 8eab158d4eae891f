"""From scores to the best videos of a query, and when in them it happens."""

from typing import NamedTuple

import torch
from torch import Tensor

from dreamprvr.core.batch import Queries
from dreamprvr.evaluation.gallery import Gallery
from dreamprvr.evaluation.metrics import ranks, refuse_nan


class QueryHits(NamedTuple):
    """The best K videos of Q queries, best first."""

    query: Tensor  # (Q,) rows of the queries
    rank: Tensor  # (Q,) of the best true video among all videos, from 1; 0 where none is known
    video: Tensor  # (Q, K) rows of the videos
    score: Tensor  # (Q, K)
    best: dict[str, Tensor]  # by scale, (Q, K) index of the best token
    over_time: Tensor  # (Q, K, M_f) score at each frame, minus infinity behind the last one


def top_hits(gallery: Gallery, queries: Queries, top_k: int) -> QueryHits:
    """Pick the best videos, score them over time, and rank the true videos among all.

    Args:
        gallery: V videos.
        queries: Q queries.
        top_k: K; at most V are returned.

    Raises:
        UserError: a score is NaN.
    """
    answer, positives = gallery.ask(queries), gallery.positions(queries.positives)
    video_rows, query_rows = gallery.rows, queries.row
    refuse_nan(answer.score, query_rows)
    rank = ranks(answer.score, positives).where((positives >= 0).any(dim=1), 0)
    best = torch.topk(answer.score, min(top_k, len(video_rows)), dim=1)
    tokens = {name: index.gather(1, best.indices).long() for name, index in answer.best.items()}
    videos = video_rows[best.indices]
    over_time = gallery.frame_scores(answer.queries, videos)
    return QueryHits(query_rows, rank, videos, best.values, tokens, over_time)
