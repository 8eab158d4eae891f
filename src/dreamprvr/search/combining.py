"""Combinations: A without B, A and later B, and the rankings by pictures and by spoken words.

The first two are defined on the scores at each second, so that a person can read the answer in the
curves.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

SOFTNESS = 60  # added to ranks in the fusion of two rankings; the usual number


class Pair(NamedTuple):
    """The best pair of a piece of a video and a later one.

    Args:
        first: index of the piece of A.
        second: index of the piece of B, which is larger.
        score: mean of both scores, on the scale of one sentence.
    """

    first: int
    second: int
    score: float


def without(wanted: np.ndarray, unwanted: np.ndarray) -> np.ndarray:
    """Score each piece of a video for A without B: A's score less B's, where B's is above 0.

    Args:
        wanted: score of A at each piece, (N,).
        unwanted: score of B at each piece, (N,).

    Returns:
        The scores, (N,); none is above A's.
    """
    scores: np.ndarray = wanted - np.maximum(unwanted, 0)
    return scores


def best_pair(first: np.ndarray, second: np.ndarray) -> Pair | None:
    """Find the pieces t_A < t_B of a video with the largest sum of A's and B's scores.

    Args:
        first: score of A at each piece, (N,).
        second: score of B at each piece, (N,).

    Returns:
        The pair, the earliest of equal ones; None if the video has a single piece.
    """
    if len(first) < 2:
        return None
    sums = np.maximum.accumulate(first)[:-1] + second[1:]
    later = int(sums.argmax()) + 1
    earlier = int(first[:later].argmax())
    return Pair(earlier, later, float(first[earlier] + second[later]) / 2)


def fused(pictures: Sequence[str], spoken: Sequence[str], counted: int) -> list[str]:
    """Join two rankings by reciprocal rank fusion.

    A video scores 1 / (60 + its rank) for each ranking that has it, and equal sums begin with the
    video that ranks higher by its words.

    Args:
        pictures: ids of videos, best first, by what is seen.
        spoken: ids of videos, best first, by what is said.
        counted: ranks of `pictures` that count for videos of `spoken`, so that the order does not
            depend on how many more are given.

    Returns:
        All ids, best first.
    """
    said = {name: rank for rank, name in enumerate(spoken, 1)}
    sums = {name: 1 / (SOFTNESS + rank) for name, rank in said.items()}
    for rank, name in enumerate(pictures, 1):
        if rank <= counted or name not in said:
            sums[name] = sums.get(name, 0) + 1 / (SOFTNESS + rank)
    return sorted(sums, key=lambda name: (-sums[name], said.get(name, len(said) + 1)))
