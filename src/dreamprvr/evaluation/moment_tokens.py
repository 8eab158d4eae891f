"""Moment tokens without training: each row of a video becomes that of the moments around it.

Source: TF-PRVR (arXiv 2610.07925); docs/models/tf_prvr.md has the equations, and says which of the
choices here are ours.
"""

from collections.abc import Sequence

import numpy as np
import pywt
import scipy.signal

from dreamprvr.core.vectors import unit

WAVELET = "db4"
LEVELS = 3
SHARE = 0.7  # b: share of a moment's row that comes from other moments
LONGEST = 1024  # rows that are looked at together; a graph of more is too large

Segments = np.ndarray
"""Segments of one level as rows [first, stop), (S, 2); they follow each other and leave no gap."""


def moment_tokens(rows: np.ndarray) -> np.ndarray:
    """Replace each row of a video by the mean of its moments at several scales.

    A video of more than `LONGEST` rows is cut into equal parts.

    Args:
        rows: features of a video in the space of the sentences, (T, D), T > 0.

    Returns:
        Tokens of unit length, (T, D) float32.
    """
    parts = np.array_split(unit(rows.astype(np.float64)), -(-len(rows) // LONGEST))
    return np.concatenate([_tokens(part) for part in parts]).astype(np.float32)


def _tokens(rows: np.ndarray) -> np.ndarray:
    levels = [segments(cuts, len(rows)) for cuts in find_cuts(rows)]
    moments = propagate(rows, levels)
    starts = np.cumsum([0, *map(len, levels)])
    covering = [
        start + np.repeat(np.arange(len(level)), level[:, 1] - level[:, 0])
        for start, level in zip(starts, levels, strict=False)
    ]
    return unit(np.mean([moments[index] for index in covering], axis=0))


def find_cuts(rows: np.ndarray) -> list[np.ndarray]:
    """Find the frames before which a video changes, at several scales (section 2).

    Args:
        rows: features of unit length, (T, D).

    Returns:
        The cuts of each level, ascending, between 1 and T - 1. A level may have none; a video that
        is too short for a wavelet has one level.
    """
    steps = unit(np.diff(rows, axis=0))
    motion = 1 - np.einsum("td, td -> t", steps[:-1], steps[1:])  # (T - 2,)
    count = min(LEVELS, pywt.dwt_max_level(len(motion), WAVELET)) if len(motion) else 0
    if not count:
        return [np.empty(0, int)]
    details = pywt.mra(motion, WAVELET, count, transform="dwt", mode="symmetric")[1:]
    cuts = []
    for detail in map(np.abs, details):
        peaks, _ = scipy.signal.find_peaks(detail, height=detail.mean() + detail.std())
        cuts.append(peaks + 2)
    return cuts


def segments(cuts: Sequence[int] | np.ndarray, count: int) -> Segments:
    """Cut `count` rows before each of the ascending `cuts`."""
    bounds = np.concatenate([[0], np.asarray(cuts, int), [count]])
    return np.stack([bounds[:-1], bounds[1:]], axis=1)


def propagate(rows: np.ndarray, levels: Sequence[Segments]) -> np.ndarray:
    """Mix the mean row of each segment with those of segments that are like it (section 3).

    Args:
        rows: features of unit length, (T, D).
        levels: segments of each level.

    Returns:
        A row for each segment of all levels together, (S, D).
    """
    bounds = np.concatenate(levels)  # (S, 2)
    level = np.repeat(np.arange(len(levels)), [len(part) for part in levels])
    sums = np.concatenate([np.zeros((1, rows.shape[1])), np.cumsum(rows, axis=0)])
    means = unit(sums[bounds[:, 1]] - sums[bounds[:, 0]])
    likeness = np.maximum(means @ means.T, 0)
    first, stop = bounds[:, 0], bounds[:, 1]
    centre, length = bounds.mean(axis=1), stop - first
    typical = np.array([length[level == each].mean() for each in range(len(levels))])[level]
    near = np.exp(-np.abs(centre[:, None] - centre) / typical[:, None])
    shared = np.minimum.outer(stop, stop) - np.maximum.outer(first, first)
    overlap = np.maximum(shared, 0) / (length[:, None] + length - np.maximum(shared, 0))
    apart = np.abs(level[:, None] - level)
    weights = np.where(apart == 0, likeness + near, np.where(apart == 1, overlap * likeness, 0))
    np.fill_diagonal(weights, 1)
    scale = weights.sum(axis=1) ** -0.5
    weights *= scale[:, None] * scale
    mixed: np.ndarray = np.linalg.solve(np.eye(len(weights)) - SHARE * weights, (1 - SHARE) * means)
    return mixed
