"""The rule that turns the score over time into moments in seconds, for `predict` and `search`.

1. `frame_scores` scores a query at each frame of a video.
2. A `Timeline` gives each frame a piece of the video in seconds; both together are a `Curve`.
3. `find_moments` finds the peaks of the curve and how far each reaches.

Nothing here needs torch, which takes seconds to be imported.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from data_modules.loading.pooling import boundaries

LEAST = 1e-3  # seconds of a piece: the end that a file states may cut the last row to nothing


# Seconds


@dataclass(frozen=True)
class Timeline:
    """The seconds of a video's rows.

    Row i covers [start + i stride, start + i stride + window), cut at the end of the video.

    Args:
        rows: number of rows.
        start: second at which the first row begins.
        stride: seconds from one row to the next.
        window: seconds of a row.
        duration: second at which the video ends.
    """

    rows: int
    start: float
    stride: float
    window: float
    duration: float

    def pieces(self, frames: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Cut the video into a piece for each row, or for each frame that rows were pooled to.

        Where windows overlap, a row's piece ends halfway between its middle and the next one's, so
        that pieces follow each other and no second counts twice.

        Args:
            frames: number of frames; None if each row is one.

        Returns:
            Starts and ends in seconds, an array each; they ascend and do not overlap.
        """
        starts = self.start + self.stride * np.arange(self.rows)
        ends = np.minimum(starts + self.window, max(self.duration, self.start + LEAST))
        ends = np.maximum(ends, starts + LEAST)
        if self.window > self.stride and self.rows > 1:
            cuts = starts[1:] + (self.window - self.stride) / 2
            cuts = np.minimum(cuts, ends[1:] - LEAST)
            ends[:-1] = np.maximum(cuts, starts[:-1] + LEAST)
            starts[1:] = ends[:-1]
            ends[-1] = max(ends[-1], starts[-1] + LEAST)
        if frames is not None and frames < self.rows:
            first = boundaries(self.rows, frames)[:-1]
            starts, ends = starts[first], ends[np.append(first[1:], self.rows) - 1]
        return starts, ends


def sections(rows: int, longest: int) -> list[slice]:
    """Cut a video into as few equal sections as have at most `longest` rows each."""
    count = -(-rows // longest)
    cuts = np.round(np.linspace(0, rows, count + 1)).astype(int)
    return [slice(int(a), int(b)) for a, b in pairwise(cuts)]


@dataclass(frozen=True)
class Curve:
    """Score of a query along a video, one value for each piece of it.

    Args:
        starts: seconds at which the pieces start, ascending.
        ends: seconds at which they end; `ends[i] > starts[i]`.
        scores: score of each piece.
    """

    starts: tuple[float, ...]
    ends: tuple[float, ...]
    scores: tuple[float, ...]


# Moments


@dataclass(frozen=True)
class Moment:
    """A span around a peak of the score over time.

    Args:
        start: second at which the span starts.
        end: second at which the span ends.
        peak: second of the highest score in the span, the middle of its piece of the curve.
        score: score at the peak.
    """

    start: float
    end: float
    peak: float
    score: float


@dataclass(frozen=True)
class MomentRule:
    """Numbers of the rule; docs/film.md compares the default numbers with others.

    Args:
        smoothing: seconds of the moving mean; below three pieces, nothing is smoothed.
        share: share of a peak's height that its moment must keep.
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


def find_moments(
    curve: Curve, count: int = 1, rule: MomentRule = MomentRule()
) -> tuple[Moment, ...]:
    """Find the best moments of a curve, best first.

    The curve may be smoothed by a moving mean. Its *ground* is the median, and a peak's *height* is
    how far it rises above the ground. The best moment reaches from the highest piece to both sides
    for as long as the curve stays above `share` of that height, but no longer than `longest`; one
    that is shorter than `shortest` is widened evenly. The next moment is found in the same way in
    what is left, at least `gap` away from those found already, until a peak rises less than `least`
    of the first one's height. Seconds are cut to milliseconds.

    Args:
        curve: at least one piece; pieces ascend and do not overlap.
        count: moments wanted, at most; at least 1.
        rule: numbers of the rule.

    Returns:
        At least one; no two overlap.
    """
    starts, ends, scores = (np.array([part]) for part in (curve.starts, curve.ends, curve.scores))
    curves = _Curves(starts, ends, scores, rule)
    free = np.ones(scores.shape, dtype=bool)
    found: list[Moment] = []
    highest = 0.0
    while free.any() and len(found) < max(1, count):
        peaks = curves.highest(free)
        height = float(peaks.height[0])
        if found and (height <= rule.least * highest or height <= 0):
            break
        highest = highest if found else height
        start, end, best = peaks.start[0], peaks.end[0], peaks.best[0]
        middle = (curve.starts[best] + curve.ends[best]) / 2
        first, last, peak = milliseconds(np.array([start, end, middle])).tolist()
        found.append(Moment(first, last, peak, curve.scores[best]))
        free &= (ends <= start - rule.gap) | (starts >= end + rule.gap)
    return tuple(found)


def best_moments(
    starts: np.ndarray, ends: np.ndarray, scores: np.ndarray, rule: MomentRule = MomentRule()
) -> tuple[np.ndarray, np.ndarray]:
    """Find the best moment of each of N curves: the first one that `find_moments` gives.

    Args:
        starts: seconds at which the pieces start, (N, M); any numbers behind the last piece.
        ends: seconds at which they end, (N, M).
        scores: scores of the pieces, (N, M); minus infinity behind the last one of a curve, which
            has at least one.
        rule: numbers of the rule.

    Returns:
        Start and end of each moment in seconds, (N,) both.
    """
    peaks = _Curves(starts, ends, scores, rule).highest(np.isfinite(scores))
    return milliseconds(peaks.start), milliseconds(peaks.end)


def milliseconds(seconds: np.ndarray) -> np.ndarray:
    """Cut seconds to milliseconds, so that no moment reaches beyond the end of its video."""
    cut: np.ndarray = np.floor(seconds * 1000 + 1e-6) / 1000  # 20.4 is 20.4 again
    return cut


class _Peaks(NamedTuple):
    """The highest peak of each of N curves, and the moment around it; (N,) each."""

    height: np.ndarray  # above the ground
    start: np.ndarray  # seconds
    end: np.ndarray
    best: np.ndarray  # index of the piece with the highest score in the moment


class _Curves:
    """N curves of up to M pieces, with minus infinity as the score behind the last piece.

    Args:
        starts: seconds at which the pieces start, (N, M).
        ends: seconds at which they end, (N, M).
        scores: scores of the pieces, (N, M).
        rule: numbers of the rule.
    """

    def __init__(
        self, starts: np.ndarray, ends: np.ndarray, scores: np.ndarray, rule: MomentRule
    ) -> None:
        self.starts, self.ends, self.scores, self.rule = starts, ends, scores, rule
        self.lines = np.arange(len(scores))
        self.smooth = self._smoothed() if rule.smoothing else scores
        self.ground = _medians(self.smooth)

    def _smoothed(self) -> np.ndarray:
        """Take a moving mean over an odd number of pieces, about as long as the rule wants.

        At both ends of a curve the mean is over fewer pieces.
        """
        real = np.isfinite(self.scores)
        lengths = _medians(np.where(real, self.ends - self.starts, -np.inf))
        half = (self.rule.smoothing / lengths).astype(int)[:, None] // 2
        sums = np.zeros((len(real), real.shape[1] + 1))
        np.cumsum(np.where(real, self.scores, 0), axis=1, out=sums[:, 1:])
        at = np.arange(real.shape[1])
        low = np.maximum(at - half, 0)
        high = np.minimum(at + half + 1, real.sum(axis=1, keepdims=True))
        means = np.take_along_axis(sums, high, 1) - np.take_along_axis(sums, low, 1)
        means /= np.maximum(high - low, 1)
        return np.where(real & (half > 0), means, self.scores)

    def highest(self, free: np.ndarray) -> _Peaks:
        """Find the highest peak of each curve among its free pieces, (N, M); at least one each."""
        lines, rule = self.lines, self.rule
        peak = np.where(free, self.smooth, -np.inf).argmax(axis=1)
        height = self.smooth[lines, peak] - self.ground
        inside = free & (self.smooth >= (self.ground + rule.share * height)[:, None])
        low, high = _run(inside, peak)
        long = self.ends[lines, high] - self.starts[lines, low] > rule.longest
        for line in np.flatnonzero(long).tolist():
            low[line], high[line] = self._shortened(line, low[line], high[line], peak[line])
        start, end = self._widened(low, high, free)
        at = np.arange(free.shape[1])
        within = (at >= low[:, None]) & (at <= high[:, None])
        return _Peaks(height, start, end, np.where(within, self.scores, -np.inf).argmax(axis=1))

    def _shortened(self, line: int, low: int, high: int, peak: int) -> tuple[int, int]:
        """Grow a moment from its peak, the better neighbour first, until it is as long as allowed.

        Args:
            line: index of the curve.
            low: first piece that the moment may have.
            high: last piece that the moment may have.
            peak: piece of the peak, between them.
        """
        run = slice(low, high + 1)
        smooth, starts, ends = (
            part[line, run].tolist() for part in (self.smooth, self.starts, self.ends)
        )
        first = last = peak - low
        while True:
            left = smooth[first - 1] if first > 0 else -math.inf
            right = smooth[last + 1] if last + 1 < len(smooth) else -math.inf
            wider = (first - 1, last) if left >= right else (first, last + 1)
            if ends[wider[1]] - starts[wider[0]] > self.rule.longest:
                return low + first, low + last
            first, last = wider

    def _widened(
        self, low: np.ndarray, high: np.ndarray, free: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Widen each moment evenly into what is free around it, until it is as long as wanted."""
        shortest = self.rule.shortest
        start, end = self.starts[self.lines, low], self.ends[self.lines, high]
        short = np.flatnonzero(end - start < shortest)
        least = self.starts[short, _run(free[short], low[short])[0]]
        most = self.ends[short, _run(free[short], high[short])[1]]
        begin = np.maximum(least, (start + end - shortest)[short] / 2)
        end[short] = np.minimum(most, begin + shortest)
        start[short] = np.maximum(least, end[short] - shortest)
        return start, end


def _medians(values: np.ndarray) -> np.ndarray:
    """Take the median of each line of (N, M), without those that are minus infinity, (N,)."""
    ordered = np.sort(values, axis=1)  # np.median takes ten times as long
    size = values.shape[1]
    least = size - np.isfinite(values).sum(axis=1)  # minus infinity comes first
    lines, low, high = np.arange(len(values)), (size - 1 + least) // 2, (size + least) // 2
    medians: np.ndarray = (ordered[lines, low] + ordered[lines, high]) / 2
    return medians


def _run(inside: np.ndarray, piece: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the first and last of the pieces around one that are all inside.

    Args:
        inside: (N, M), whether a piece of a curve is inside.
        piece: index of a piece of each curve, (N,).
    """
    at, piece, size = np.arange(inside.shape[1]), piece[:, None], inside.shape[1]
    before, after = ~inside & (at < piece), ~inside & (at > piece)
    low = np.where(before.any(axis=1), size - before[:, ::-1].argmax(axis=1), 0)
    high = np.where(after.any(axis=1), after.argmax(axis=1), size) - 1
    return low, high
