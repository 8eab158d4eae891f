"""Keeps the library open, in its last finished state, and remembers answers."""

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException

from dreamprvr.core.errors import UserError
from dreamprvr.core.files import is_running, read_regular
from dreamprvr.core.text import message_line
from dreamprvr.search.conditions import extents
from dreamprvr.search.engine.filters import parse_where
from dreamprvr.search.results import LibraryVideo, SearchResult, as_json, as_text
from dreamprvr.serve.listing import Listing, listing
from dreamprvr.serve.pictures import Pictures
from dreamprvr.serve.schema import Column, LibraryAnswer, Range, SearchQuery

if TYPE_CHECKING:  # it needs seconds to be imported
    from dreamprvr.search.library import Library

_ANSWERS = 32
_VIDEOS = 4096
_FRESH = 60.0  # seconds; a library on a Qdrant server may be changed by others
_PROGRESS_BYTES = 65_536
_SHOWN_VALUES = 200  # a column with more values is no use as a list to choose from


class Keeper:
    """The library of the page; while another process writes it, what was there before is searched.

    All methods that touch the library are called on one thread, that of the searches, but `look`.

    Args:
        folder: path of the library.
        opener: opens the library at a path; raises UserError if it cannot.

    Attributes:
        contents: what the library holds; None while it is closed.
        message: why it could not be opened.
        pictures: pictures that clients have sent to search for.
    """

    def __init__(self, folder: Path, opener: Callable[[Path], "Library"]) -> None:
        self.folder = folder
        self._name = folder.resolve().name
        self.message = ""
        self.pictures = Pictures()
        self.contents: LibraryAnswer | None = None
        self._opener = opener
        self._library: Library | None = None
        self._newer: tuple[Library, LibraryAnswer] | None = None
        self._answers: OrderedDict[SearchQuery, tuple[float, SearchResult]] = OrderedDict()
        self._videos: OrderedDict[str, tuple[float, LibraryVideo]] = OrderedDict()
        self._listing: Listing | None = None
        self._lock = threading.Lock()  # `known` is called on every thread
        self._renewing = threading.Lock()

    def look(self) -> None:
        """Open the library as another process has left it, for `tend`; on a thread of its own.

        Meanwhile searches go on. The model and the encoder are not loaded again.
        """
        with self._renewing:
            if self._library is None or self._newer is not None:
                return
            with suppress(UserError):  # it is gone, or damaged: what is open stays
                newer = self._library.renewed()
                if newer is not None:
                    self._newer = self._prepared(newer)

    def tend(self) -> None:
        """Open the library if it is not open, or take over what `look` has opened."""
        with self._renewing:
            newer, self._newer = self._newer, None
            if newer is None:
                self.try_open()
                return
            old = self._library
            self._library, self.contents = newer  # at no time there is no library
            self._listing = None
            self._answers.clear()
            if old is not None:
                old.close()

    def try_open(self) -> bool:
        """Try to open the library; return whether it is open, else `message` has the reason."""
        if self._library is not None:
            return True
        try:
            self._library, self.contents = self._prepared(self._opener(self.folder))
        except UserError as error:
            self.message = message_line(error)
            return False
        self.message = ""
        return True

    def _prepared(self, library: "Library") -> "tuple[Library, LibraryAnswer]":
        """Make a library that was just opened ready for searches, and describe its contents."""
        try:
            library.prepare()
            return library, self._contents(library)
        except BaseException:
            library.close()
            raise

    def _contents(self, library: "Library") -> LibraryAnswer:
        videos, held = library.videos(), library.columns()
        columns = [
            Column(name=name, values=values)
            for name, values in held.items()
            if name != "title" and 0 < len(values) <= _SHOWN_VALUES
        ]
        lengths = [video.duration for video in videos]
        return LibraryAnswer(
            state="ready", name=self._name, videos=len(videos), seconds=sum(lengths),
            columns=columns, version=library.version,
            ranges=[Range(**extent._asdict()) for extent in extents(held, lengths)],
        )  # fmt: skip

    def state(self) -> LibraryAnswer:
        """Return what the library holds; how far it is while there is nothing, or why there is."""
        if self.contents is not None and self.contents.videos:
            return self.contents
        closed = LibraryAnswer(state="opening", name=self._name, message=self.message)
        return self.indexing() or self.contents or closed

    def indexing(self) -> LibraryAnswer | None:
        """Read how far indexing is from `progress.json`; None if no process is writing."""
        try:
            data = json.loads(read_regular(self.folder / "progress.json", _PROGRESS_BYTES))
            progress = LibraryAnswer(
                state="indexing", name=self._name, done=int(data["done"]),
                total=int(data["total"]), video=str(data.get("video", "")),
            )  # fmt: skip
            return progress if is_running(int(data["pid"])) else None
        except Exception:  # there is none, or it holds anything else
            return None

    def search(self, query: SearchQuery) -> SearchResult:
        """Answer a query, from memory if it is a recent one.

        Raises:
            HTTPException: 503, the library is closed; 404, the picture is not held any more.
            UserError: the library has no such column, or cannot be searched.
        """
        held = self._answers.get(query)
        if held is None or time.monotonic() - held[0] > _FRESH:
            arguments = query.arguments()
            if query.image is not None:
                arguments["image"] = self.pictures.content(query.image)
            result = self._opened().search(**arguments)
            held = (time.monotonic(), result)
        _remember(self._answers, query, held, _ANSWERS)
        with self._lock:
            for hit in held[1].hits:
                _remember(self._videos, hit.video.video_id, (held[0], hit.video), _VIDEOS)
        return held[1]

    def printed(self, call: Mapping[str, Any]) -> str:
        """Answer a call of `lightning search` with what it prints.

        It finds what a command before it has written, also in the second until the page would.

        Args:
            call: the arguments of `Library.search` by name, with `where` as COLUMN=VALUE words;
                and `json`, whether to answer in JSON.

        Raises:
            HTTPException: 503, the library is closed.
            UserError: an argument is wrong, or the library cannot be searched.
        """
        self.look()
        self.tend()
        options = {**call, "where": parse_where(call["where"])}
        as_printed = as_json if options.pop("json") else as_text
        return as_printed(self._opened().search(**options))

    def _opened(self) -> "Library":
        if self._library is None:
            raise closed_for_now()
        return self._library

    def known(self, video_id: str) -> LibraryVideo | None:
        """Return a video that was looked up or found a moment ago, else None."""
        with self._lock:
            held = self._videos.get(video_id)
        if held is None:
            return None
        is_closed = self._library is None  # then nothing newer can be had
        return held[1] if is_closed or time.monotonic() - held[0] <= _FRESH else None

    def video(self, video_id: str) -> LibraryVideo | None:
        """Return a video as the library has it now, or None.

        Raises:
            HTTPException: 503, the library is closed.
        """
        video = self._opened().video(video_id)
        if video is not None:
            with self._lock:
                _remember(self._videos, video_id, (time.monotonic(), video), _VIDEOS)
        return video

    def listing(self) -> Listing:
        """Return the list of all videos; it is made once for as long as the library is open.

        Raises:
            HTTPException: 503, the library is closed.
        """
        library = self._opened()
        if self._listing is None:
            self._listing = listing(library.videos())
        return self._listing

    def close(self) -> None:
        """Close the library and forget its answers, but not its videos, as one may be playing."""
        library, self._library = self._library, None
        newer, self._newer = self._newer, None
        self.contents = self._listing = None
        self._answers.clear()
        if library is not None:
            library.close()
        if newer is not None:
            newer[0].close()


def closed_for_now() -> HTTPException:
    """Return the refusal until the library is open; `/api/library` has the reason."""
    return HTTPException(503, "the library is not open now; try again in a moment")


def _remember(store: OrderedDict[Any, Any], key: Any, value: Any, limit: int) -> None:
    store[key] = value
    store.move_to_end(key)
    while len(store) > limit:
        store.popitem(last=False)
