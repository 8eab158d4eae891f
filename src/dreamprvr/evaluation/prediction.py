"""The best videos of each query, and its score over time in each of them."""

from typing import NamedTuple

import torch
from torch import Tensor

from dreamprvr.core.batch import Queries
from dreamprvr.evaluation.gallery import Gallery
from dreamprvr.evaluation.metrics import best_rank, refuse_nan, true_ranks


class QueryHits(NamedTuple):
    """The best K videos of Q queries, best first."""

    query: Tensor  # (Q,), rows of the queries in their table
    rank: Tensor  # (Q,), rank of the best true video among all, from 1; 0 if none is known
    ranks: Tensor  # (Q, P), rank of each true video in the order of its query; 0 for padding
    video: Tensor  # (Q, K), rows of the videos in their table
    score: Tensor  # (Q, K)
    best: dict[str, Tensor]  # by scale, (Q, K), index of the best token
    over_time: Tensor  # (Q, K, M_f), score at each frame; minus infinity behind the last one


def top_hits(gallery: Gallery, queries: Queries, top_k: int) -> QueryHits:
    """Pick the best videos, score them over time, and rank the true videos among all.

    Args:
        gallery: the V encoded videos.
        queries: the Q queries.
        top_k: K, number of videos for each query; at most V are returned.

    Raises:
        UserError: a score is NaN.
    """
    answer = gallery.ask(queries)
    video_rows, query_rows = gallery.rows, queries.row
    refuse_nan(answer.score, query_rows)
    ranks = true_ranks(answer.score, gallery.positions(queries.positives))
    best = torch.topk(answer.score, min(top_k, len(video_rows)), dim=1)
    tokens = {name: index.gather(1, best.indices).long() for name, index in answer.best.items()}
    videos = video_rows[best.indices]
    over_time = gallery.frame_scores(answer.queries, videos)
    return QueryHits(query_rows, best_rank(ranks), ranks, videos, best.values, tokens, over_time)
