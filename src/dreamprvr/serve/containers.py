"""Opens video files, and says what a browser makes of them."""

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from dreamprvr.errors import UserError
from dreamprvr.extraction import probe as extraction
from dreamprvr.extraction.probe import VideoError
from dreamprvr.search.results import LibraryVideo
from dreamprvr.serve.replies import Refusal

# Seconds. A browser plays an mp4 that begins late by its time stamps, but takes its length for its
# end, so that much at the end cannot be reached.
_LATE = 0.5
_MP4_VIDEO = {"h264", "vp9", "av1"}
_MP4_AUDIO = {"aac", "mp3", "opus", "flac"}
_WEBM_VIDEO = {"vp8", "vp9", "av1"}
_WEBM_AUDIO = {"opus", "vorbis"}
_EIGHT_BITS = {"yuv420p", "yuvj420p"}  # of h264 browsers show nothing else


@dataclass(frozen=True)
class SourceFile:
    """A video file as it is now; what is made from it is kept under all three."""

    path: Path
    size: int
    mtime_ns: int


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
    return SourceFile(video.path, status.st_size, status.st_mtime_ns)


@contextmanager
def open_video(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """A file and its pictures, the same that its features were made of.

    Raises:
        UserError: PyAV cannot read it, here or inside the block.
    """
    try:
        with extraction.open_video(path) as opened:
            yield opened
    except VideoError as error:
        raise UserError(f"{path.name}: {error}") from None
    except av.FFmpegError as error:
        raise UserError(f"{path.name} cannot be decoded: {error.strerror}") from None


def seek_before(container: InputContainer, stream: VideoStream, stamp: float) -> None:
    """Go to where decoding soon yields the picture that is shown at a time stamp.

    In a format without an index (mpegts, mpeg, flv) a seek may end behind the keyframe that is
    needed, so what it leads to is looked at, and if need be it begins further ahead.

    Args:
        container: of the stream.
        stream: the pictures.
        stamp: seconds; before the first picture, decoding begins with that.
    """
    ahead = stamp - (container.start_time or 0) / av.time_base
    reached = None
    for back in (0.0, 1.0, 5.0, 30.0, ahead, ahead + 10.0):
        target = int((stamp - back) * av.time_base)
        try:
            container.seek(target, backward=True)
        except av.FFmpegError:  # before the beginning
            continue
        reached = target
        first = next((f for f in container.decode(stream) if f.time is not None), None)
        if first is not None and first.time <= stamp:
            break
    if reached is not None:
        container.seek(reached, backward=True)


@lru_cache(maxsize=1024)
def probe(source: SourceFile) -> Probe:
    """Look into a file.

    Raises:
        Refusal: 415, it is no video.
    """
    try:
        with open_video(source.path) as (container, stream):
            return _probe(container, stream, source.path.suffix.lower())
    except UserError as error:
        raise Refusal(415, str(error)) from None


def _probe(container: InputContainer, stream: VideoStream, suffix: str) -> Probe:
    video = stream.codec_context
    # of the format, not of the library that decodes it
    picture = video.codec.canonical_name
    audio = container.streams.audio
    sound = audio[0].codec_context.codec.canonical_name if audio else None
    formats = container.format.name.split(",")
    plain = picture != "h264" or video.pix_fmt in _EIGHT_BITS
    for_mp4 = picture in _MP4_VIDEO and plain and (sound is None or sound in _MP4_AUDIO)
    for_webm = picture in _WEBM_VIDEO and (sound is None or sound in _WEBM_AUDIO)
    in_time = (container.start_time or 0) / av.time_base <= _LATE
    mime = None
    if "mp4" in formats and for_mp4 and in_time:
        mime = "video/mp4"
    elif "webm" in formats and for_webm and in_time and suffix == ".webm":
        mime = "video/webm"
    seconds = float((container.duration or 0) / av.time_base)
    copies = "matroska" in formats and for_mp4 and in_time
    return Probe(mime, copies, seconds)


@dataclass(frozen=True)
class Shape:
    """How frames of a file are to be shown.

    Args:
        width: even, in pixels, after turning.
        height: even.
        turns: quarter turns counterclockwise that make a frame upright.
    """

    width: int
    height: int
    turns: int

    def upright(self, frame: VideoFrame) -> VideoFrame:
        """A frame as it is meant to be seen, yuv420p."""
        if self.turns:
            pixels = np.rot90(frame.to_ndarray(format="rgb24"), self.turns)
            upright = np.ascontiguousarray(pixels, dtype=np.uint8)
            frame = VideoFrame.from_ndarray(upright, "rgb24")
        return frame.reformat(self.width, self.height, "yuv420p")


def shape_of(frame: VideoFrame, aspect: Fraction | None, longest: int) -> Shape:
    """Turned upright, with square pixels, made smaller but never larger.

    Args:
        frame: as decoded; PyAV reads its rotation and does not turn it.
        aspect: width of a pixel over its height; None or 0 if unknown.
        longest: pixels of the longer side, at most.
    """
    width, height = frame.width * float(aspect or 1), float(frame.height)
    turns = round((frame.rotation or 0) / 90) % 4
    if turns % 2:
        width, height = height, width
    scale = min(1.0, longest / max(width, height))
    return Shape(max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2), turns)
