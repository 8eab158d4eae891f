"""Says what a browser makes of a video file."""

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from dreamprvr.core.errors import UserError
from dreamprvr.search.results import LibraryVideo
from dreamprvr.serve.replies import Refusal
from dreamprvr.video.clock import REAL_GAP
from dreamprvr.video.reader import Shown, VideoReader
from dreamprvr.video.source import VideoError, open_video

MADE = 2  # way in which files are made of videos; those in the cache of another are not used
# Seconds. A browser plays an mp4 that begins late by its time stamps, but takes its length for its
# end, so that much at the end cannot be reached.
_LATE = 0.5
_SHORT = 1.0  # seconds by which a header may fall short of the pictures
_MP4_VIDEO = {"h264", "vp9", "av1"}
_MP4_AUDIO = {"aac", "mp3", "opus", "flac"}
_WEBM_VIDEO = {"vp8", "vp9", "av1"}
_WEBM_AUDIO = {"opus", "vorbis"}
_EIGHT_BITS = {"yuv420p", "yuvj420p"}  # of h264 browsers show nothing else


@dataclass(frozen=True)
class SourceFile:
    """A video file as it is now; what is made from it is kept under path, size and mtime_ns.

    Args:
        path: of the file.
        size: in bytes.
        mtime_ns: time of its last change.
        seconds: its length when its features were made.
    """

    path: Path
    size: int
    mtime_ns: int
    seconds: float = 0.0


@dataclass(frozen=True)
class Probe:
    """What a browser can do with a file.

    Args:
        mime: to serve the file with, or None if it must be converted.
        copies: whether its streams may be put into an mp4 as they are.
        seconds: its duration, 0 if the file does not say.
    """

    mime: str | None
    copies: bool
    seconds: float


def source_file(video: LibraryVideo) -> SourceFile:
    """The file that the library names for a video.

    Raises:
        Refusal: 404, it is gone, or no plain file.
    """
    status = None
    if video.path is not None:
        try:
            status = video.path.stat()
        except (OSError, ValueError):
            status = None
    if video.path is None or status is None or not stat.S_ISREG(status.st_mode):
        name = video.path.name if video.path else video.video_id
        raise Refusal(404, f"the video file {name} is not where it was when it was extracted")
    return SourceFile(video.path, status.st_size, status.st_mtime_ns, video.duration)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Name the file where it cannot be read as a video.

    Raises:
        UserError: PyAV cannot read it.
    """
    try:
        yield
    except VideoError as error:
        raise UserError(f"{path.name}: {error}") from None
    except av.FFmpegError as error:
        raise UserError(f"{path.name} cannot be decoded: {error.strerror}") from None


def fitted(shown: Shown, longest: int) -> tuple[int, int]:
    """Give a picture's width and height, both even, made smaller if need be but never larger.

    Args:
        shown: the picture.
        longest: pixels of the longer side, at most.
    """
    scale = min(1.0, longest / max(shown.size))
    width, height = (max(2, round(side * scale / 2) * 2) for side in shown.size)
    return width, height


@lru_cache(maxsize=1024)
def probe(source: SourceFile) -> Probe:
    """Look into a file.

    Raises:
        Refusal: 415, it is no video.
    """
    try:
        with readable(source.path), open_video(source.path) as (container, stream):
            found = _probe(container, stream, source)
        if found.mime is None and not found.copies:
            return found
        with readable(source.path):
            # browsers show both fields of a picture at once
            interlaced = next(VideoReader(source.path).read()).interlaced
        return Probe(None, False, found.seconds) if interlaced else found
    except UserError as error:
        raise Refusal(415, str(error)) from None


def _probe(container: InputContainer, stream: VideoStream, source: SourceFile) -> Probe:
    video = stream.codec_context
    # of the format, not of the library that decodes it
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
    return Probe(mime, copies, seconds)
