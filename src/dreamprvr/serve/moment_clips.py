"""A moment as a file of its own."""

import math
import re
from pathlib import Path

from dreamprvr.core.errors import UserError
from dreamprvr.search.results import LibraryVideo, clock
from dreamprvr.serve.cache import CacheFolder
from dreamprvr.serve.containers import MADE, SourceFile
from dreamprvr.serve.replies import Refusal
from dreamprvr.serve.transcode import Report, transcode

MAX_SECONDS = 600.0
_LAST = 1e7  # seconds
_LONGEST = 1920  # pixels
_UNSAFE = re.compile(r"[^\w .()-]+")


def read_second(text: str) -> float:
    """A second from an address.

    Raises:
        Refusal: 400, it is none.
    """
    try:
        second = float(text)
    except ValueError:
        second = math.nan
    if not 0 <= second < _LAST:
        raise Refusal(400, "times are seconds from the beginning of the video")
    return second


def read_span(start: str, end: str) -> tuple[float, float]:
    """The seconds of a moment from an address.

    Raises:
        Refusal: 400, they are no span, or one longer than `MAX_SECONDS`.
    """
    first, last = read_second(start), read_second(end)
    if not first < last:
        raise Refusal(400, "a moment ends after its start")
    if last - first > MAX_SECONDS:
        raise Refusal(400, f"a moment is at most {MAX_SECONDS:.0f} seconds long")
    return first, last


def moment_clip(
    cache: CacheFolder, source: SourceFile, start: float, end: float, report: Report
) -> Path:
    """[start, end) of a video as mp4 with its sound.

    It is encoded again rather than copied, as a copy could begin at a keyframe only: seconds
    early, or with a frozen picture.

    Args:
        cache: where it is kept.
        source: the video.
        start: seconds as a player shows them.
        end: the same.
        report: told the share done; what it raises ends the work.

    Raises:
        Refusal: 415, the video cannot be decoded or has nothing there.
    """
    parts = ("clip", source.path, source.size, source.mtime_ns, MADE, f"{start:.3f}", f"{end:.3f}")

    def write(partial: Path) -> None:
        transcode(source.path, partial, start, end, _LONGEST, report)

    try:
        return cache.make(cache.path(parts, "mp4"), write)
    except UserError as error:
        raise Refusal(415, str(error)) from None


def clip_name(video: LibraryVideo, start: float, end: float) -> str:
    """What a moment's file is called: `Title 01.12-01.24.mp4`."""
    span = f"{clock(start)}-{clock(end)}".replace(":", ".")
    return f"{safe_name(video.title)} {span}.mp4"


def safe_name(title: str) -> str:
    """A title as a part of a file name on every system: no separators, no hidden file."""
    return _UNSAFE.sub("_", title).strip(" ._")[:80] or "video"
