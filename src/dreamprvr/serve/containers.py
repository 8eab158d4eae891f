"""Finds out how a video file is described to browsers, which say whether they can play it."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream
from starlette.exceptions import HTTPException

from dreamprvr.core.errors import UserError
from dreamprvr.search.results import LibraryVideo
from dreamprvr.video.clock import REAL_GAP
from dreamprvr.video.reader import VideoReader
from dreamprvr.video.source import VideoError, open_video, read_header

# Seconds. A browser plays an mp4 that begins late by its time stamps, but takes its length for its
# end, so that much at the end cannot be reached.
_LATE = 0.5
_SHORT = 1.0  # seconds by which a header may fall short of the pictures
# Formats that browsers play by their own time stamps, as `dreamprvr.video` reads them.
_CONTAINERS = {"mov": "video/mp4", "matroska": "video/x-matroska", "ogg": "video/ogg"}
# Names of formats of pictures and sound in types (RFC 6381); those of other formats, which no
# browser plays, are libav's own.
_CODECS = {
    "vp9": "vp09.00.40.08", "av1": "av01.0.08M.08", "mpeg4": "mp4v.20.9",
    "hevc": "hvc1.1.6.L120.B0", "h264": "avc1.640028",
    "aac": "mp4a.40.2", "mp3": "mp4a.6B", "ac3": "ac-3", "eac3": "ec-3",
}  # fmt: skip
_DEEP = {"vp9": "vp09.02.40.10", "av1": "av01.0.08M.10", "hevc": "hvc1.2.4.L120.B0"}  # 10 bits


class NotPlayable(UserError):
    """A file that is no video, or has no pictures at the requested place."""


@dataclass(frozen=True)
class SourceFile:
    """A video file as it is now.

    Args:
        path: path of the file.
        size: size in bytes.
        mtime_ns: time of the last change, in nanoseconds.
        seconds: length of the video when its features were made.
    """

    path: Path
    size: int
    mtime_ns: int
    seconds: float = 0.0


@dataclass(frozen=True)
class Probe:
    """The facts that a browser needs to play a file.

    Args:
        mime: type of the file with its codecs, which a browser is asked about; None if a browser
            would show other pictures or other seconds than the library has.
        seconds: length of the video.
        has_sound: whether there is sound.
    """

    mime: str | None
    seconds: float
    has_sound: bool


def source_file(video: LibraryVideo) -> SourceFile:
    """Return the file that the library names for a video.

    Raises:
        HTTPException: 404, it is gone, is no regular file or may not be read.
    """
    path, status = video.path, None
    if path is not None:
        try:
            status = path.stat()
        except (OSError, ValueError):
            status = None
    if path is None or status is None or not stat.S_ISREG(status.st_mode):
        name = path.name if path else video.video_id
        raise HTTPException(
            404, f"the video file {name} is not where it was when it was extracted: put it back, "
            "or extract and index its new folder, which describes it anew",
        )  # fmt: skip
    if not os.access(path, os.R_OK):
        raise HTTPException(404, f"the video file {path.name} may not be read")
    return SourceFile(path, status.st_size, status.st_mtime_ns, video.duration)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn the errors of reading a video into one line with its name.

    Raises:
        NotPlayable: PyAV cannot read the file.
    """
    try:
        yield
    except VideoError as error:
        raise NotPlayable(f"{path.name}: {error}") from None
    except av.FFmpegError as error:
        raise NotPlayable(f"{path.name} cannot be decoded: {error.strerror}") from None


@lru_cache(maxsize=1024)
def probe(source: SourceFile) -> Probe:
    """Find out the facts that a browser needs to play a file.

    Raises:
        NotPlayable: it is no video.
    """
    with readable(source.path):
        with open_video(source.path) as (container, stream):
            header = read_header(container, stream)
            seconds = source.seconds if source.seconds > 0 else header.end or header.file_end or 0.0
            mime = _mime(container, stream, source)
            has_sound = bool(container.streams.audio)
        # browsers show both fields of a picture at once
        if mime is not None and next(VideoReader(source.path).read()).interlaced:
            mime = None
        return Probe(mime, seconds, has_sound)


def _mime(container: InputContainer, stream: VideoStream, source: SourceFile) -> str | None:
    kind = _CONTAINERS.get(container.format.name.split(",")[0])
    seconds = float((container.duration or 0) / av.time_base)
    # else a browser shows other pictures than the features were made of
    as_is = (
        (container.start_time or 0) / av.time_base <= _LATE
        and source.seconds - seconds <= max(_SHORT, 0.02 * source.seconds)
        and seconds - source.seconds <= REAL_GAP  # a longer pause was taken for a new clock
        and len(container.streams.video) == 1
    )
    if kind is None or not as_is:
        return None
    if kind == "video/x-matroska" and source.path.suffix.lower() == ".webm":
        kind = "video/webm"
    codecs = [_codec(stream)]
    for sound in container.streams.audio[:1]:
        name = sound.codec_context.codec.canonical_name
        codecs.append(_CODECS.get(name, name))
    return f'{kind}; codecs="{",".join(codecs)}"'


def _codec(stream: VideoStream) -> str:
    """Return the name of a stream's format of pictures as browsers know it."""
    video = stream.codec_context
    # name of the format, not of the library that decodes it
    name = video.codec.canonical_name
    setup = video.extradata
    if name == "h264" and setup and setup[0] == 1 and len(setup) > 4:
        return f"avc1.{setup[1:4].hex()}"  # profile, constraints, level
    if "10" in (video.pix_fmt or ""):
        return _DEEP.get(name, _CODECS.get(name, name))
    return _CODECS.get(name, name)
