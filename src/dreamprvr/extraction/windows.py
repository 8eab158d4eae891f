"""Cut videos into windows of equal seconds, read ahead of the encoder by a thread."""

import queue
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image

from dreamprvr.core.errors import first_line
from dreamprvr.extraction.feature_file import ExtractionSettings, VideoRecord
from dreamprvr.extraction.find_videos import FoundVideo
from dreamprvr.video.reader import ROUNDING, Shown, VideoReader
from dreamprvr.video.source import VideoError, check_file

SHORTEST_REST = 1e-3  # seconds at the end of a video that are worth a window of their own
MAX_LOST_SHARE = 0.6  # share of lost seconds above which a video is a failure
AHEAD_BYTES = 192 * 2**20  # bytes of pictures that may wait for the encoder


class Window(NamedTuple):
    """A span of a video.

    Args:
        begin: second at which the window begins.
        end: second at which it ends; the last window ends with the video.
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
    """Cut a video into windows until they cover it.

    From the second `start` of the first picture on, the picture on the screen is sampled in the
    middle of every 1 / fps seconds. Window i holds the samples in [start + i * stride, start + i *
    stride + window). A window without a sample, as the rest at the end may be, holds the last
    picture before its end.

    Args:
        pictures: the video's pictures, each of which begins where the one before it ends.
        fps: samples in a second.
        window: length of a window in seconds.
        stride: seconds from the start of a window to the start of the next one.
        count: number of frames in a window, spread evenly over its samples (if these are fewer,
            some come twice); 0 for all samples.
    """
    samples: deque[_Sample] = deque()
    start, last, place = 0.0, None, 0
    sampled = 0
    for shown in pictures:
        if last is None:
            start = shown.begin
        while (begin := start + place * stride) + window <= shown.begin + ROUNDING:
            assert last is not None
            yield _window(begin, begin + window, samples, last, count)
            place += 1
            _forget(samples, start + place * stride)
        while (seconds := start + (sampled + 0.5) / fps) < shown.end - ROUNDING:
            if seconds >= start + place * stride - ROUNDING:
                samples.append(_Sample(seconds, shown))
            sampled += 1
        last = shown
    while last is not None:
        begin = start + place * stride
        if place and begin >= last.end - SHORTEST_REST:
            return
        end = min(begin + window, last.end)
        yield _window(begin, end, samples, last, count)
        if end >= last.end - SHORTEST_REST:
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
    """Stack pictures to (n, H, W, 3), scaled to the size of the first one."""
    height, width = pictures[0].shape[:2]
    return np.stack([
        picture if picture.shape == pictures[0].shape
        else np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))
        for picture in pictures
    ])  # fmt: skip


@dataclass(frozen=True)
class WindowRead:
    """A window was read.

    Args:
        video: the video to which it belongs.
        window: the window.
        expected_end: second at which the video ends by its header; None if it does not say.
    """

    video: FoundVideo
    window: Window
    expected_end: float | None


@dataclass(frozen=True)
class VideoFailed:
    """A video cannot be used, so its windows must be forgotten.

    Args:
        video: the video.
        reason: the cause in words.
    """

    video: FoundVideo
    reason: str


Event = WindowRead | VideoRecord | VideoFailed
"""The record of a video comes after all of its windows."""


class Waiting(queue.Queue[Event | None]):
    """Events that wait for the encoder; it is full once their pictures have `maxsize` bytes."""

    def _init(self, maxsize: int) -> None:
        super()._init(maxsize)
        self.size = 0

    def _qsize(self) -> int:
        return self.size

    def _put(self, event: Event | None) -> None:
        super()._put(event)
        self.size += _size(event)

    def _get(self) -> Event | None:
        event = super()._get()
        self.size -= _size(event)
        return event


def _size(event: Event | None) -> int:
    """Return the bytes of an event's pictures, and one more, since no event is nothing."""
    return 1 + (event.window.frames.nbytes if isinstance(event, WindowRead) else 0)


class ReadAhead:
    """Iterates over the events of videos that a thread reads; leaving the context stops the thread.

    Args:
        videos: the videos, which are read one after another.
        settings: how to cut them: fps, window and stride.
        count: number of frames in a window; 0 for all samples.
    """

    def __init__(
        self, videos: Sequence[FoundVideo], settings: ExtractionSettings, count: int
    ) -> None:
        self._videos, self._settings, self._count = videos, settings, count
        self._events, self._stopped = Waiting(AHEAD_BYTES), False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "ReadAhead":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopped = True
        while self._thread.is_alive():  # it may wait for room
            with suppress(queue.Empty):
                self._events.get(timeout=0.05)

    def __iter__(self) -> Iterator[Event]:
        while (event := self._events.get()) is not None:
            yield event

    def _run(self) -> None:
        for video in self._videos:
            if self._stopped:
                return
            try:
                self._events.put(self._read(video))
            except VideoError as error:
                self._events.put(VideoFailed(video, str(error)))
            except Exception as error:  # what a broken file does to a decoder is not known
                reason = f"{type(error).__name__}: {first_line(error)}"
                self._events.put(VideoFailed(video, f"cannot be read ({reason})"))
        self._events.put(None)

    def _read(self, video: FoundVideo) -> VideoRecord:
        before = check_file(video.path)
        reader = VideoReader(video.path)
        settings, start, end = self._settings, None, 0.0
        windows = cut(reader, settings.fps, settings.window, settings.stride, self._count)
        for window in windows:
            if self._stopped:
                break
            start = window.begin if start is None else start
            end = window.end
            self._events.put(WindowRead(video, window, reader.expected_end))
        after = check_file(video.path)
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise VideoError("changed while it was read: run again when it is complete")
        if reader.lost > MAX_LOST_SHARE * reader.length:
            raise VideoError(
                f"{reader.lost:.1f} of {reader.length:.1f} s have no pictures, which is too much: "
                + "; ".join(reader.warnings)
            )
        return VideoRecord(
            video.video_id, start or 0.0, max(end, reader.end), video.path, before.st_size,
            before.st_mtime_ns, "; ".join(reader.warnings),
        )  # fmt: skip
