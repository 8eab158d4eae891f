"""Holds the library: opens it, waits while another process writes it, remembers answers."""

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from dreamprvr.core.errors import UserError
from dreamprvr.core.files import is_running, read_regular
from dreamprvr.core.text import one_line
from dreamprvr.search.lock import is_wanted
from dreamprvr.search.results import LibraryVideo, SearchResult
from dreamprvr.serve.queries import SearchRequest
from dreamprvr.serve.replies import closed_for_now

_ANSWERS = 32
_VIDEOS = 4096
_FRESH = 60.0  # seconds; a library on a Qdrant server may be changed by others
_PROGRESS_BYTES = 65_536


class SearchLibrary(Protocol):
    """What the page needs of `dreamprvr.search.library.Library`."""

    def search(
        self,
        text: str,
        k: int = 10,
        where: Mapping[str, Any] | None = None,
        moments: int = 3,
        threshold: float | None = None,
    ) -> SearchResult:
        """Rank the videos for a sentence."""
        ...

    def video(self, video_id: str) -> LibraryVideo | None:
        """One video, or None."""
        ...

    def videos(self, where: Mapping[str, Any] | None = None) -> list[LibraryVideo]:
        """The videos that a filter leaves."""
        ...

    def columns(self) -> Mapping[str, Sequence[Any]]:
        """Metadata columns and their values."""
        ...

    def is_wanted(self) -> bool:
        """Whether another process waits to write, so that `close` should be called."""
        ...

    def close(self) -> None:
        """Let go of files and locks."""
        ...


@dataclass(frozen=True)
class Progress:
    """How far the process that writes the library is."""

    done: int
    total: int
    video: str


@dataclass(frozen=True)
class Contents:
    """What there is to search."""

    videos: int
    seconds: float
    columns: Mapping[str, tuple[Any, ...]]


class Keeper:
    """The library of the page, whenever no other process writes it.

    All methods that touch the library are called on one thread, that of the searches.

    Args:
        folder: of the library.
        opener: opens it; raises UserError if it cannot.
    """

    def __init__(self, folder: Path, opener: Callable[[Path], SearchLibrary]) -> None:
        self.folder = folder
        self.message = ""
        self.contents: Contents | None = None
        self._opener = opener
        self._library: SearchLibrary | None = None
        self._answers: OrderedDict[SearchRequest, tuple[float, SearchResult]] = OrderedDict()
        self._videos: OrderedDict[str, tuple[float, LibraryVideo]] = OrderedDict()
        self._lock = threading.Lock()  # `known` is called on every thread

    def tend(self) -> None:
        """Let go of the library if another process wants to write it; else have it open."""
        if self._library is not None and self._library.is_wanted():
            self.close()
        self.try_open()

    def try_open(self) -> bool:
        """Open the library unless it is open; `message` says why it cannot be."""
        if self._library is not None:
            return True
        if is_wanted(self.folder):
            self.message = "another process is about to write the library"
            return False
        try:
            library = self._opener(self.folder)
            try:
                self.contents = _contents(library)
            except BaseException:
                library.close()
                raise
        except UserError as error:
            self.message = one_line(" ".join(str(error).split()))
            return False
        self._library, self.message = library, ""
        return True

    def progress(self) -> Progress | None:
        """What `progress.json` says, or None if nobody is writing."""
        try:
            data = json.loads(read_regular(self.folder / "progress.json", _PROGRESS_BYTES))
            done, total, pid = int(data["done"]), int(data["total"]), int(data["pid"])
            video = str(data.get("video", ""))
        except (
            OSError,
            UserError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            ArithmeticError,
            RecursionError,
        ):
            return None
        return Progress(done, total, video) if is_running(pid) else None

    def search(self, request: SearchRequest) -> SearchResult:
        """Answer a query, from memory if it was asked a moment ago."""
        held = self._answers.get(request)
        if held is None or time.monotonic() - held[0] > _FRESH:
            result = self._opened().search(
                request.text, k=request.k, where=request.filters(), moments=request.moments,
                threshold=request.threshold,
            )  # fmt: skip
            held = (time.monotonic(), result)
        _remember(self._answers, request, held, _ANSWERS)
        with self._lock:
            for hit in held[1].hits:
                _remember(self._videos, hit.video.video_id, (held[0], hit.video), _VIDEOS)
        return held[1]

    def _opened(self) -> SearchLibrary:
        if self._library is None:
            raise closed_for_now()
        return self._library

    def known(self, video_id: str) -> LibraryVideo | None:
        """A video that was looked up or found a moment ago."""
        with self._lock:
            held = self._videos.get(video_id)
        if held is None:
            return None
        closed = self._library is None  # then nothing newer can be had
        return held[1] if closed or time.monotonic() - held[0] <= _FRESH else None

    def video(self, video_id: str) -> LibraryVideo | None:
        """A video as the library has it now, or None."""
        video = self._opened().video(video_id)
        if video is not None:
            with self._lock:
                _remember(self._videos, video_id, (time.monotonic(), video), _VIDEOS)
        return video

    def close(self) -> None:
        """Let go of the library and of its answers, not of where videos are: one may be playing."""
        library, self._library = self._library, None
        self.contents = None
        self._answers.clear()
        if library is not None:
            library.close()


def _contents(library: SearchLibrary) -> Contents:
    videos = library.videos()
    columns = {name: tuple(values) for name, values in library.columns().items()}
    return Contents(len(videos), sum(video.duration for video in videos), columns)


def _remember(store: OrderedDict[Any, Any], key: Any, value: Any, limit: int) -> None:
    store[key] = value
    store.move_to_end(key)
    while len(store) > limit:
        store.popitem(last=False)
