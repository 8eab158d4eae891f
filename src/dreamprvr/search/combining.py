"""Scores over time of two sentences in one: A without B, and A and later B.

Both are defined on the scores at each second, so that a person can read the answer in the curves.
"""

from typing import NamedTuple

import numpy as np


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
