"""How good a list of found videos is against the list of all videos by exact score."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

CUTS = (1, 5, 10, 100)  # of SumR


class Quality(NamedTuple):
    """Means over queries, in percent.

    Args:
        recall: share of the exact list that was found.
        sum_recall: SumR, the sum of the shares of queries whose true video is among the first
            1, 5, 10 and 100.
        kept: that, as a share of the exact list's.
    """

    recall: float
    sum_recall: float
    kept: float


def exact_lists(scores: np.ndarray, limit: int, allowed: np.ndarray | None = None) -> np.ndarray:
    """(Q, V) -> (Q, K): best videos, best first.

    Args:
        scores: of every video.
        limit: K, at most.
        allowed: (Q, V), which videos a query's filter leaves; as many for every query.
    """
    count = scores.shape[1]
    if allowed is not None:
        scores, count = np.where(allowed, scores, -np.inf), int(allowed.sum(axis=1).min())
    limit = min(limit, count)
    best = np.argpartition(-scores, limit - 1, axis=1)[:, :limit]
    order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
    return np.take_along_axis(best, order, axis=1)


def sum_recall(lists: Sequence[Sequence[int]] | np.ndarray, true: np.ndarray) -> float:
    """SumR in percent, 400 at most.

    Args:
        lists: videos of each query, best first.
        true: (Q,), the true video of each.
    """
    shares = [
        np.mean([video in list(found)[:cut] for found, video in zip(lists, true, strict=True)])
        for cut in CUTS
    ]
    return 100 * float(np.sum(shares))


def quality(lists: Sequence[Sequence[int]], exact: np.ndarray, true: np.ndarray) -> Quality:
    """Of what was found for the first queries of those that `exact` and `true` are of."""
    exact, true = exact[: len(lists)], true[: len(lists)]
    hits = [len(set(f) & set(e.tolist())) for f, e in zip(lists, exact, strict=True)]
    ours, best = sum_recall(lists, true), sum_recall(exact, true)
    recall = 100 * sum(hits) / exact.size
    return Quality(recall, ours, 100 * ours / best if best else 100.0)
