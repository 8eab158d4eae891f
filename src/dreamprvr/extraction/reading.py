"""Decodes videos in a thread of its own, ahead of the encoder, within a limit of memory."""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dreamprvr.extraction.find_videos import FoundVideo
from dreamprvr.extraction.settings import ExtractionSettings
from dreamprvr.extraction.windows import Window, cut
from dreamprvr.video.reader import VideoReader
from dreamprvr.video.source import VideoError, check_file

MAX_LOST_SHARE = 0.6  # of its seconds, above which a video is a failure
AHEAD_BYTES = 192 * 2**20  # of pictures that wait for the encoder


@dataclass(frozen=True)
class Cut:
    """A window of the video being read; `expected_end` is its header's, in seconds."""

    video: FoundVideo
    window: Window
    expected_end: float | None


@dataclass(frozen=True)
class Done:
    """All of a video was read: its windows came before this."""

    video: FoundVideo
    start: float
    duration: float
    size: int
    mtime_ns: int
    warning: str


@dataclass(frozen=True)
class Failed:
    """A video gave nothing, or changed while it was read; its windows are to be forgotten."""

    video: FoundVideo
    reason: str


Event = Cut | Done | Failed


class ReadAhead:
    """Iterates over the events of videos, read by a thread.

    Args:
        videos: read one after another.
        settings: fps, window and stride.
        count: frames a window; 0 for all that are looked at.

    As a context manager it stops the thread at the end, whatever happened.
    """

    def __init__(
        self, videos: Sequence[FoundVideo], settings: ExtractionSettings, count: int
    ) -> None:
        self._videos, self._settings, self._count = videos, settings, count
        self._events: deque[Event | None] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "ReadAhead":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        with self._changed:
            self._stopped = True
            self._events.clear()
            self._changed.notify_all()
        self._thread.join()

    def __iter__(self) -> Iterator[Event]:
        while True:
            with self._changed:
                while not self._events:
                    self._changed.wait()
                event = self._events.popleft()
                self._bytes -= _bytes(event)
                self._changed.notify_all()
            if event is None:
                return
            yield event

    def _put(self, event: Event | None) -> None:
        """Wait until there is room; one event has room always."""
        size = _bytes(event)
        with self._changed:
            while self._events and self._bytes + size > AHEAD_BYTES and not self._stopped:
                self._changed.wait()
            self._events.append(event)
            self._bytes += size
            self._changed.notify_all()

    def _run(self) -> None:
        for video in self._videos:
            if self._stopped:
                return
            try:
                self._put(self._read(video))
            except VideoError as error:
                self._put(Failed(video, str(error)))
            except Exception as error:  # what a broken file does to a decoder is not known
                reason = (str(error).strip().splitlines() or [""])[0]
                self._put(Failed(video, f"cannot be read ({type(error).__name__}: {reason})"))
        self._put(None)

    def _read(self, video: FoundVideo) -> Done:
        before = check_file(video.path)
        reader = VideoReader(video.path)
        settings, start, end = self._settings, None, 0.0
        windows = cut(reader, settings.fps, settings.window, settings.stride, self._count)
        for window in windows:
            if self._stopped:
                break
            start = window.begin if start is None else start
            end = window.end
            self._put(Cut(video, window, reader.expected_end))
        after = check_file(video.path)
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise VideoError("changed while it was read: run again when it is complete")
        if reader.lost > MAX_LOST_SHARE * reader.length:
            raise VideoError(
                f"{reader.lost:.1f} of {reader.length:.1f} s have no pictures, which is too much: "
                + "; ".join(reader.warnings)
            )
        return Done(
            video, start or 0.0, max(end, reader.end), before.st_size, before.st_mtime_ns,
            "; ".join(reader.warnings),
        )  # fmt: skip


def _bytes(event: Event | None) -> int:
    return event.window.frames.nbytes if isinstance(event, Cut) else 0
