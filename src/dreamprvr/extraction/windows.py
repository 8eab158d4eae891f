"""Pictures in their order of time -> windows of equal seconds."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image

from dreamprvr.video.reader import ROUNDING, Shown

SHORTEST = 1e-3  # seconds that are worth a window of their own at the end of a video


class Window(NamedTuple):
    """A span of a video.

    Args:
        begin: second at which it begins.
        end: second at which it ends; that of the last is the video's.
        frames: (n, H, W, 3) uint8 RGB.
    """

    begin: float
    end: float
    frames: np.ndarray


class _Sample(NamedTuple):
    seconds: float
    shown: Shown


def cut(
    pictures: Iterable[Shown], fps: float, window: float, stride: float, count: int
) -> Iterator[Window]:
    """Cut a video into windows, until they cover it.

    With `start` the second of the first picture, the video is looked at in the middle of every
    1 / fps seconds from there, at what is on the screen. Window i holds what is seen in [start +
    i * stride, start + i * stride + window). One in which nothing is seen, as the rest at the end
    may be, holds the last picture before its end.

    Args:
        pictures: each begins where the one before it ends.
        fps: looks a second.
        window: seconds.
        stride: seconds from the begin of a window to that of the next.
        count: frames a window, spread evenly over those that are seen in it (if these are fewer,
            some come twice); 0 for all of them.
    """
    samples: deque[_Sample] = deque()
    start, last, place = 0.0, None, 0
    looks = 0
    for shown in pictures:
        if last is None:
            start = shown.begin
        while (begin := start + place * stride) + window <= shown.begin + ROUNDING:
            assert last is not None
            yield _window(begin, begin + window, samples, last, count)
            place += 1
            _forget(samples, start + place * stride)
        while (seconds := start + (looks + 0.5) / fps) < shown.end - ROUNDING:
            if seconds >= start + place * stride - ROUNDING:
                samples.append(_Sample(seconds, shown))
            looks += 1
        last = shown
    while last is not None:
        begin = start + place * stride
        if place and begin >= last.end - SHORTEST:
            return
        end = min(begin + window, last.end)
        yield _window(begin, end, samples, last, count)
        if end >= last.end - SHORTEST:
            return
        place += 1
        _forget(samples, start + place * stride)


def _forget(samples: deque[_Sample], before: float) -> None:
    while samples and samples[0].seconds < before - ROUNDING:
        samples.popleft()


def _window(
    begin: float, end: float, samples: Iterable[_Sample], last: Shown, count: int
) -> Window:
    seen = [sample.shown for sample in samples if sample.seconds < end - ROUNDING] or [last]
    if count:
        seen = [seen[int((i + 0.5) * len(seen) / count)] for i in range(count)]
    return Window(begin, end, _stack([shown.pixels() for shown in seen]))


def _stack(pictures: list[np.ndarray]) -> np.ndarray:
    """(n, H, W, 3); pictures of other sizes than the first are scaled to it."""
    height, width = pictures[0].shape[:2]
    return np.stack([
        picture if picture.shape == pictures[0].shape
        else np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))
        for picture in pictures
    ])  # fmt: skip
