"""Moments: spans around the peaks of a score curve.

The rule. The curve may be smoothed by a moving mean. Its *ground* is the median, and a peak's
*height* is how far it rises above the ground. The best moment reaches from the highest piece to
both sides for as long as the curve stays above `share` of that height, but no longer than
`longest`; one that is shorter than `shortest` is widened evenly. The next moment is found in the
same way in what is left, at least `gap` away from those found already, until a peak rises less than
`least` of the first one's height. docs/film.md compares the default numbers with others.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from dreamprvr.search.results import Curve, Moment


@dataclass(frozen=True)
class MomentRule:
    """Numbers of the rule.

    Args:
        smoothing: seconds of the moving mean; below three pieces, nothing is smoothed.
        share: of a peak's height that its moment must keep.
        shortest: seconds of a moment, unless the video is shorter.
        longest: seconds of a moment.
        gap: seconds between two moments.
        least: share of the best peak's height that another peak must have.
    """

    smoothing: float = 0.0
    share: float = 0.5
    shortest: float = 2.0
    longest: float = 90.0
    gap: float = 1.0
    least: float = 0.3


def find_moments(curve: Curve, count: int, rule: MomentRule | None = None) -> tuple[Moment, ...]:
    """The best moments of a curve, best first.

    Args:
        curve: at least one piece; pieces ascend and do not overlap.
        count: moments wanted, at most; at least 1.
        rule: numbers of the rule.

    Returns:
        At least one; no two overlap.
    """
    rule = rule or MomentRule()
    return tuple(islice(_peaks(curve, rule), max(1, count)))


def _peaks(curve: Curve, rule: MomentRule) -> Iterator[Moment]:
    starts, ends = np.asarray(curve.starts), np.asarray(curve.ends)
    smooth = _smoothed(np.asarray(curve.scores), starts, ends, rule.smoothing)
    ground = float(np.median(smooth))
    free = np.ones(len(smooth), dtype=bool)
    first_height = None
    while free.any():
        peak = int(np.argmax(np.where(free, smooth, -np.inf)))
        height = float(smooth[peak]) - ground
        if first_height is None:
            first_height = height
        elif height <= rule.least * first_height or height <= 0:
            return
        low, high = _reach(smooth, free, peak, ground + rule.share * height, starts, ends, rule)
        start, end = _widened(starts, ends, low, high, free, rule.shortest)
        best = low + int(np.argmax(np.asarray(curve.scores)[low : high + 1]))
        yield Moment(start, end, float(starts[best] + ends[best]) / 2, float(curve.scores[best]))
        free &= (ends <= start - rule.gap) | (starts >= end + rule.gap)


def _smoothed(
    scores: np.ndarray, starts: np.ndarray, ends: np.ndarray, seconds: float
) -> np.ndarray:
    """Moving mean over an odd number of pieces, about `seconds` long; fewer at the ends."""
    width = float(np.median(ends - starts))
    half = int(seconds / width) // 2
    if not half:
        return scores
    sums = np.concatenate([[0.0], np.cumsum(scores, dtype=np.float64)])
    at = np.arange(len(scores))
    low, high = np.maximum(at - half, 0), np.minimum(at + half + 1, len(scores))
    return (sums[high] - sums[low]) / (high - low)


def _reach(
    smooth: np.ndarray,
    free: np.ndarray,
    peak: int,
    level: float,
    starts: np.ndarray,
    ends: np.ndarray,
    rule: MomentRule,
) -> tuple[int, int]:
    """First and last piece of the moment; the better neighbour is taken first."""
    low = high = peak
    while True:
        left = smooth[low - 1] if low > 0 and free[low - 1] else -np.inf
        right = smooth[high + 1] if high + 1 < len(smooth) and free[high + 1] else -np.inf
        if max(left, right) < level or max(left, right) == -np.inf:
            return low, high
        wider = (low - 1, high) if left >= right else (low, high + 1)
        if ends[wider[1]] - starts[wider[0]] > rule.longest:
            return low, high
        low, high = wider


def _widened(
    starts: np.ndarray, ends: np.ndarray, low: int, high: int, free: np.ndarray, shortest: float
) -> tuple[float, float]:
    """Seconds of the pieces, widened evenly into what is free around them."""
    start, end = float(starts[low]), float(ends[high])
    missing = shortest - (end - start)
    if missing > 0:
        first = _edge(free, low, -1)
        last = _edge(free, high, 1)
        start = max(float(starts[first]), start - missing / 2)
        end = min(float(ends[last]), start + shortest)
        start = max(float(starts[first]), end - shortest)
    return start, end


def _edge(free: np.ndarray, piece: int, step: int) -> int:
    """The last free piece that is reached from one by going in one direction."""
    while 0 <= piece + step < len(free) and free[piece + step]:
        piece += step
    return piece
