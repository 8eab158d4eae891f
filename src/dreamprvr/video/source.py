"""Open video files of unknown origin, choose the stream of pictures, and read the header."""

import gc
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from dreamprvr.core.errors import first_line
from dreamprvr.core.file_kinds import UNKNOWN, VIDEO, described, kind_of

# Formats that hold their own pictures. Others (playlists, lists of files) make libav open the files
# and addresses that they name, and the ending of a file says nothing about its format.
FORMATS = (
    "asf,avi,dv,flv,gif,h264,hevc,ivf,m4v,matroska,mov,mpeg,mpegts,mpegvideo,mxf,nut,obu,ogg,rm,wtv"
)
# Browsers play these formats by their own time stamps, even if the first one is not 0.
PLAYED_AS_STAMPED = ("matroska", "mov", "ogg")
STILL_CODECS = {"mjpeg", "png", "bmp", "gif", "tiff", "webp", "jpegxl", "jpeg2000"}  # covers
_TRANSPARENT = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # other decoders ignore transparency
TRIED_BYTES = 16 * 2**20  # bytes of streams that are decoded to choose among them
# Exceptions for a broken file; PyAV raises IndexError at the end of some streams.
BROKEN = (av.FFmpegError, ValueError, IndexError)
LONGEST_FRAME = 60.0  # seconds; a header that says a picture lasts longer is wrong


def _before_fork() -> None:
    """Free garbage, and keep a forked process from freeing what is left.

    PyAV's converters of pictures have threads. A forked process has none of them, and would wait
    for them for ever when its garbage collection frees a converter of the parent.
    """
    gc.collect()
    gc.freeze()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=gc.unfreeze)


class VideoError(Exception):
    """A video file that cannot be used; the text gives the reason."""


@dataclass(frozen=True)
class Header:
    """The times that the header of a file gives, in seconds.

    Args:
        zero: time stamp at which a player's clock shows 0.
        end: second at which the pictures end, as a player counts; None if unknown.
        file_end: second at which pictures and sound end; None if unknown.
        frame_seconds: average time for which a frame is shown.
    """

    zero: float
    end: float | None
    file_end: float | None
    frame_seconds: float


@contextmanager
def open_video(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file and choose the video stream that a player shows.

    Covers and other still pictures are ignored if there is a film. Of several films, those that can
    be decoded come first, among them the one that is marked as the default, then the first one.

    Args:
        path: path of the file.

    Yields:
        The container and the chosen stream.

    Raises:
        VideoError: the file is missing, empty, not a video, or has only sound.
    """
    check_file(path)
    with _open(path) as container:
        films = [
            stream for stream in container.streams.video
            if not stream.disposition & Disposition.attached_pic
        ]  # fmt: skip
        usable = [stream for stream in films if stream.codec_context is not None]
        sound = bool(container.streams.audio)
        if not films:
            raise VideoError("only sound" if sound else "no pictures in it")
        if not usable:
            raise VideoError("its pictures are in a format that cannot be decoded")
        still = usable[0].codec_context.name in STILL_CODECS
        if len(usable) == 1 and not (still and sound):
            yield container, usable[0]
            return
        decoded = _try_out(path, [stream.index for stream in usable])
        best = max(usable, key=lambda stream: (
            decoded[stream.index], bool(stream.disposition & Disposition.default), -stream.index
        ))  # fmt: skip
        if sound and decoded[best.index] < 2 and best.codec_context.name in STILL_CODECS:
            raise VideoError("only sound, with a still picture")
        yield container, best


def _open(path: Path) -> InputContainer:
    try:
        return av.open(
            str(path), metadata_errors="replace",
            container_options={
                "format_whitelist": FORMATS, "protocol_whitelist": "file",
                "merge_pmt_versions": "1",  # joined recordings may number their streams differently
            },
        )  # fmt: skip
    except (av.FFmpegError, OSError, ValueError) as error:
        if kind_of(path) in (VIDEO, UNKNOWN):
            reason = getattr(error, "strerror", None) or first_line(error)
            raise VideoError(f"not a video that can be read ({reason})") from None
        raise VideoError(f"not a video that can be read: it is {described(path)}") from None


def _try_out(path: Path, indices: list[int]) -> dict[int, int]:
    """Count the pictures decoded at the beginning of each stream: 0, 1, or 2 for more than one."""
    pictures = dict.fromkeys(indices, 0)
    read = 0
    with _open(path) as container:
        for stream in container.streams.video:
            stream.thread_type = "SLICE"  # a picture a packet, if it can be decoded
        try:
            for packet in container.demux([container.streams[index] for index in indices]):
                with suppress(av.FFmpegError, ValueError):
                    pictures[packet.stream.index] += len(packet.decode())
                read += packet.size
                if min(pictures.values()) > 1 or read > TRIED_BYTES:
                    break
        except BROKEN:
            pass  # the pictures decoded until then count
    return {index: min(count, 2) for index, count in pictures.items()}


def decoder_of(stream: VideoStream) -> VideoCodecContext:
    """Return the decoder of a stream: libvpx for VP8 or VP9 with transparency, else its own."""
    name = _TRANSPARENT.get(stream.codec_context.codec.canonical_name)
    if name is not None and stream.metadata.get("alpha_mode") == "1":
        with suppress(av.FFmpegError, ValueError):
            return cast(VideoCodecContext, VideoCodecContext.create(name, "r"))
    stream.thread_type = "AUTO"
    return stream.codec_context


def check_file(path: Path) -> os.stat_result:
    """Return the status of a file, after checking that it can be opened.

    Raises:
        VideoError: the file is missing, empty, may not be read, or is not a regular file.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise VideoError("not a file")
        if not status.st_size:
            raise VideoError("an empty file")
        with path.open("rb"):
            return status
    except OSError as error:
        raise VideoError(error.strerror or str(error)) from None


def read_header(container: InputContainer, stream: VideoStream) -> Header:
    """Read the times that the header of a file gives.

    Seconds are counted as an HTML video element seeks. A browser plays mp4, mkv and webm by their
    time stamps: in a file whose pictures start at 3 s, second 3 shows the first picture. Only a
    stamp below 0 moves the clock. Files that browsers do not play are counted from their start.

    Args:
        container: the file.
        stream: its stream of pictures.
    """
    played = container.format.name.split(",")[0] in PLAYED_AS_STAMPED
    start = _seconds(stream.start_time, float(stream.time_base or 0))
    file_start = _seconds(container.start_time, 1 / av.time_base)
    first = start if start is not None else file_start or 0.0
    zero = min(first, 0.0) if played else (file_start if file_start is not None else first)
    length = _seconds(stream.duration, float(stream.time_base or 0))
    file_length = _seconds(container.duration, 1 / av.time_base)
    if container.format.name.startswith("matroska"):
        file_start = 0.0  # Matroska gives the time of the end as the duration
    rate = stream.average_rate or stream.guessed_rate
    return Header(
        zero=zero,
        end=None if length is None else first + length - zero,
        file_end=None if file_length is None else (file_start or 0.0) + file_length - zero,
        frame_seconds=min(float(1 / rate), LONGEST_FRAME) if rate else 0.04,
    )


def _seconds(count: int | None, unit: float) -> float | None:
    return None if count is None else count * unit
