"""The rule that turns the score over time into moments in seconds, for `predict` and `search`.

1. A video is a sequence of frames, which are the rows of its features, or what they were pooled to.
   The score of a query at a frame is the model's score of the tokens that cover this frame alone:
   `FrameScores`. So the score over time is never above the score of the video, and equal to it
   where the best tokens of all scales lie together. A model says by `token_spans` which clips or
   frames a token covers. What `rescore` adds is no part of it.
2. A `Timeline` gives each frame a piece of the video in seconds; both together are a `Curve`.
3. `find_moments` finds the peaks of the curve and how far each reaches.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, pairwise

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from data_modules.loading.pooling import boundaries
from dreamprvr.models.contract import RetrievalModel
from dreamprvr.models.encoded import EncodedQueries, EncodedVideos
from dreamprvr.models.layers.basic import at_least_float32
from dreamprvr.models.scoring import token_products

LEAST = 1e-3  # seconds of a piece: what a file says of the end may cut the last row to nothing


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
        """Cut the video into a piece a row, or a piece for each frame that rows were pooled to.

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


# The score over time


class FrameScores:
    """Scores queries at every frame of a video.

    Args:
        model: the model, whose `token_spans` name the clips or frames that its tokens cover.
    """

    def __init__(self, model: RetrievalModel) -> None:
        self.weights, self.sizes = model.scale_weights, model.config
        self.items: dict[str, str] = {}
        self.tokens: dict[str, Tensor] = {}  # of each item, those that cover it
        counts = {"clips": self.sizes.num_clips, "frames": self.sizes.max_frames}
        for scale in model.scales:
            items, spans = model.token_spans(scale)
            self.items[scale], self.tokens[scale] = items, _covering(spans, counts[items])

    def __call__(
        self,
        queries: EncodedQueries,
        videos: EncodedVideos,
        frames: Tensor,
        pairs: tuple[Tensor, Tensor],
    ) -> Tensor:
        """Score some pairs of a query and a video.

        Args:
            queries: Q queries, their rows of unit length.
            videos: B videos, their tokens of unit length.
            frames: number of frames of each video, (B,).
            pairs: indices of the query and of the video of each pair, (P,) both.

        Returns:
            The score at each frame, (P, M_f); minus infinity behind the last frame.
        """
        query, video = pairs
        total: Tensor | None = None
        for scale, weight in self.weights.items():
            rows, tokens = queries.rows[scale], videos.scales[scale].tokens
            count = rows.vectors.shape[1]
            vectors = rearrange(rows.vectors, "q w d -> (q w) d")
            products = rearrange(token_products(vectors, tokens), "(q w) b t -> q b w t", w=count)
            best = _best(products[query, video], self.tokens[scale].to(tokens.device))
            if self.items[scale] == "clips":
                best = best.gather(2, self._clips(frames[video], count)).unflatten(
                    2, (self.sizes.max_frames, -1)
                )
                best = best.amax(dim=-1)
            scores = weight * torch.einsum(
                "pw,pwm->pm", at_least_float32(rows.weights)[query], best
            )
            total = scores if total is None else total + scores
        assert total is not None, "a model has at least one scale"
        past = torch.arange(total.shape[1], device=total.device) >= frames[video, None]
        return total.masked_fill(past, -torch.inf)

    def _clips(self, frames: Tensor, rows: int) -> Tensor:
        """Find the clips of each frame of P videos, (P, rows, M_f times clips of a frame)."""
        longest, clips = self.sizes.max_frames, self.sizes.num_clips
        lengths, which = frames.unique(return_inverse=True)
        tables = [clips_of_frames(int(length), clips) for length in lengths.tolist()]
        most = max(table.shape[1] for table in tables)
        stacked = torch.stack(
            [
                table[
                    torch.arange(longest).clamp(max=len(table) - 1)[:, None],
                    torch.arange(most).clamp(max=table.shape[1] - 1),
                ]
                for table in tables
            ]
        )
        index = rearrange(stacked.to(frames.device)[which], "p m c -> p 1 (m c)")
        return index.expand(-1, rows, -1)


def _best(products: Tensor, tokens: Tensor) -> Tensor:
    """Take the best product among the tokens of each item, (P, W, T) -> (P, W, items)."""
    if tokens.shape[1] == 1 and torch.equal(tokens[:, 0], torch.arange(len(tokens)).to(tokens)):
        return products[..., : len(tokens)]
    return products[..., tokens].amax(dim=-1)


def _covering(spans: list[tuple[int, int]], items: int) -> Tensor:
    """List the tokens that cover each item, (items, most); the first again where there are fewer.

    Args:
        spans: first item of each token, and the one after its last.
        items: number of items; each must be covered.
    """
    found: list[list[int]] = [[] for _ in range(items)]
    for token, (first, stop) in enumerate(spans):
        for item in range(first, stop):
            found[item].append(token)
    most = max(map(len, found))
    return torch.tensor([tokens + tokens[:1] * (most - len(tokens)) for tokens in found])


@lru_cache(maxsize=4096)
def clips_of_frames(frames: int, clips: int) -> Tensor:
    """List the clips that cover each frame of a video, (frames, most); see `_covering`.

    A clip covers the frames that it was pooled from; the last one also the last frame, which
    pooling leaves out.
    """
    bounds = boundaries(frames, clips)
    stops = np.maximum(bounds[1:], bounds[:-1] + 1)
    stops[-1] = frames
    spans = list(zip(bounds[:-1].tolist(), stops.tolist(), strict=True))
    return _covering(spans, frames)


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
    of the first one's height.

    Args:
        curve: at least one piece; pieces ascend and do not overlap.
        count: moments wanted, at most; at least 1.
        rule: numbers of the rule.

    Returns:
        At least one; no two overlap.
    """
    return tuple(islice(_peaks(curve, rule), max(1, count)))


def _peaks(curve: Curve, rule: MomentRule) -> Iterator[Moment]:
    starts, ends = np.asarray(curve.starts), np.asarray(curve.ends)
    scores = np.asarray(curve.scores)
    smooth = _smoothed(scores, starts, ends, rule.smoothing)
    ordered = np.sort(smooth)  # np.median takes ten times as long, and there are many curves
    ground = float(ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    free = np.ones(len(smooth), dtype=bool)
    first_height = None
    while free.any():
        peak = int(np.argmax(np.where(free, smooth, -np.inf)))
        height = float(smooth[peak]) - ground
        if first_height is None:
            first_height = height
        elif height <= rule.least * first_height or height <= 0:
            return
        inside = free & (smooth >= ground + rule.share * height)
        low, high = _run(inside, peak)
        if ends[high] - starts[low] > rule.longest:
            low, high = _shortened(smooth, inside, peak, starts, ends, rule.longest)
        start, end = _widened(starts, ends, low, high, free, rule.shortest)
        best = low + int(np.argmax(scores[low : high + 1]))
        yield Moment(start, end, float(starts[best] + ends[best]) / 2, float(scores[best]))
        free &= (ends <= start - rule.gap) | (starts >= end + rule.gap)


def _smoothed(
    scores: np.ndarray, starts: np.ndarray, ends: np.ndarray, seconds: float
) -> np.ndarray:
    """Take a moving mean over an odd number of pieces, about `seconds` long; fewer at the ends."""
    half = int(seconds / float(np.median(ends - starts))) // 2 if seconds else 0
    if not half:
        return scores
    sums = np.concatenate([[0.0], np.cumsum(scores, dtype=np.float64)])
    at = np.arange(len(scores))
    low, high = np.maximum(at - half, 0), np.minimum(at + half + 1, len(scores))
    return (sums[high] - sums[low]) / (high - low)


def _run(inside: np.ndarray, piece: int) -> tuple[int, int]:
    """Find the first and last of the pieces around one that are all inside."""
    outside = np.flatnonzero(~inside)
    place = int(np.searchsorted(outside, piece))
    low = int(outside[place - 1]) + 1 if place else 0
    after = place + int(not inside[piece])
    return low, int(outside[after]) - 1 if after < len(outside) else len(inside) - 1


def _shortened(
    smooth: np.ndarray,
    inside: np.ndarray,
    peak: int,
    starts: np.ndarray,
    ends: np.ndarray,
    longest: float,
) -> tuple[int, int]:
    """Grow a moment from its peak, the better neighbour first, until it is as long as allowed."""
    low = high = peak
    while True:
        left = smooth[low - 1] if low > 0 and inside[low - 1] else -np.inf
        right = smooth[high + 1] if high + 1 < len(smooth) and inside[high + 1] else -np.inf
        wider = (low - 1, high) if left >= right else (low, high + 1)
        if max(left, right) == -np.inf or ends[wider[1]] - starts[wider[0]] > longest:
            return low, high
        low, high = wider


def _widened(
    starts: np.ndarray, ends: np.ndarray, low: int, high: int, free: np.ndarray, shortest: float
) -> tuple[float, float]:
    """Widen a moment evenly into what is free around it, until it is as long as wanted."""
    start, end = float(starts[low]), float(ends[high])
    missing = shortest - (end - start)
    if missing > 0:
        first, last = _run(free, low)[0], _run(free, high)[1]
        start = max(float(starts[first]), start - missing / 2)
        end = min(float(ends[last]), start + shortest)
        start = max(float(starts[first]), end - shortest)
    return start, end
