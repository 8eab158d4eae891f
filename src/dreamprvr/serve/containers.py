"""Finds out whether browsers can play a video file as it is."""

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
from dreamprvr.video.source import VideoError, open_video

# Seconds. A browser plays an mp4 that begins late by its time stamps, but takes its length for its
# end, so that much at the end cannot be reached.
_LATE = 0.5
_SHORT = 1.0  # seconds by which a header may fall short of the pictures
_MP4_VIDEO = {"h264", "vp9", "av1"}
_MP4_AUDIO = {"aac", "mp3", "opus", "flac"}
_WEBM_VIDEO = {"vp8", "vp9", "av1"}
_WEBM_AUDIO = {"opus", "vorbis"}
_EIGHT_BITS = {"yuv420p", "yuvj420p"}  # browsers show no other pixels of H.264


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
    """The ways in which a browser can play a file.

    Args:
        mime: type to serve the file with, or None if it must be converted.
        copies: its streams may be put into an mp4 without encoding them again.
    """

    mime: str | None
    copies: bool


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
        raise HTTPException(404, f"the video file {name} is not where it was when it was extracted")
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
    """Find out how a browser can play a file.

    Raises:
        NotPlayable: it is no video.
    """
    with readable(source.path):
        with open_video(source.path) as (container, stream):
            answer = _probe(container, stream, source)
        if answer.mime is None and not answer.copies:
            return answer
        # browsers show both fields of a picture at once
        interlaced = next(VideoReader(source.path).read()).interlaced
        return Probe(None, False) if interlaced else answer


def _probe(container: InputContainer, stream: VideoStream, source: SourceFile) -> Probe:
    video = stream.codec_context
    # names of the formats, not of the libraries that decode them
    picture = video.codec.canonical_name
    audio = container.streams.audio
    sound = audio[0].codec_context.codec.canonical_name if audio else None
    formats = container.format.name.split(",")
    plain = picture != "h264" or video.pix_fmt in _EIGHT_BITS
    for_mp4 = picture in _MP4_VIDEO and plain and (sound is None or sound in _MP4_AUDIO)
    for_webm = picture in _WEBM_VIDEO and (sound is None or sound in _WEBM_AUDIO)
    seconds = float((container.duration or 0) / av.time_base)
    # else a browser shows other pictures than the features were made of
    as_is = (
        (container.start_time or 0) / av.time_base <= _LATE
        and source.seconds - seconds <= max(_SHORT, 0.02 * source.seconds)
        and seconds - source.seconds <= REAL_GAP  # a longer pause was taken for a new clock
        and len(container.streams.video) == 1
    )
    mime = None
    if "mp4" in formats and for_mp4 and as_is:
        mime = "video/mp4"
    elif "webm" in formats and for_webm and as_is and source.path.suffix.lower() == ".webm":
        mime = "video/webm"
    copies = "matroska" in formats and for_mp4 and as_is
    return Probe(mime, copies)
