"""Opens video files of unknown origin and reads what their headers say."""

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

from dreamprvr.core.kinds import UNKNOWN, VIDEO, described, kind_of

# Formats that hold their own pictures. Others (playlists, lists of files) make libav open whatever
# files and addresses they name, and a file's ending says nothing about its format.
FORMATS = (
    "asf,avi,dv,flv,gif,h264,hevc,ivf,m4v,matroska,mov,mpeg,mpegts,mpegvideo,mxf,nut,obu,ogg,rm,wtv"
)
# Browsers play these by their own time stamps, even if the first is not 0.
PLAYED_AS_STAMPED = ("matroska", "mov", "ogg")
STILL_CODECS = {"mjpeg", "png", "bmp", "gif", "tiff", "webp", "jpegxl", "jpeg2000"}  # of covers
_TRANSPARENT = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # other decoders leave out what is below
TRIED_BYTES = 16 * 2**20  # of the streams among which one is chosen
# Raised by a broken file; IndexError by PyAV, at the end, if a stream began in the middle.
BROKEN = (av.FFmpegError, ValueError, IndexError)
LONGEST_FRAME = 60.0  # seconds; a header that gives less than a picture a minute is wrong


class VideoError(Exception):
    """A file that gives no features; the text says why, and the others go on."""


@dataclass(frozen=True)
class Header:
    """What a file says of itself before it is read.

    Args:
        zero: time stamp, in seconds, at which a player's clock shows 0.
        end: second at which the pictures end, as a player counts; None if it is not said.
        file_end: second at which all ends, sound included; None if it is not said.
        frame_seconds: that a frame is shown on average.
    """

    zero: float
    end: float | None
    file_end: float | None
    frame_seconds: float


@contextmanager
def open_video(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file and choose the video stream that a player shows.

    Covers and other still pictures are passed over where there is a film. Of several films it is
    the first whose pictures can be decoded, one that is marked as the default before others.

    Raises:
        VideoError: it is missing, empty, no video, or has only sound.
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
        found = _try_out(path, [stream.index for stream in usable])
        best = max(usable, key=lambda stream: (
            found[stream.index], bool(stream.disposition & Disposition.default), -stream.index
        ))  # fmt: skip
        if sound and found[best.index] < 2 and best.codec_context.name in STILL_CODECS:
            raise VideoError("only sound, with a still picture")
        yield container, best


def _open(path: Path) -> InputContainer:
    try:
        return av.open(
            str(path), metadata_errors="replace",
            container_options={
                "format_whitelist": FORMATS, "protocol_whitelist": "file",
                "merge_pmt_versions": "1",  # a joined recording may number its streams otherwise
            },
        )  # fmt: skip
    except (av.FFmpegError, OSError, ValueError) as error:
        if kind_of(path) in (VIDEO, UNKNOWN):
            raise VideoError(f"not a video that can be read ({_reason(error)})") from None
        raise VideoError(f"not a video that can be read: it is {described(path)}") from None


def _try_out(path: Path, indices: list[int]) -> dict[int, int]:
    """Decode the beginning of some streams: 0, 1 or 2 (for more) pictures that each has given."""
    found = dict.fromkeys(indices, 0)
    read = 0
    with _open(path) as container:
        for stream in container.streams.video:
            stream.thread_type = "SLICE"  # a picture a packet, if it can be decoded
        try:
            for packet in container.demux([container.streams[index] for index in indices]):
                with suppress(av.FFmpegError, ValueError):
                    found[packet.stream.index] += len(packet.decode())
                read += packet.size
                if min(found.values()) > 1 or read > TRIED_BYTES:
                    break
        except BROKEN:
            pass  # what was found until then counts
    return {index: min(count, 2) for index, count in found.items()}


def decoder_of(stream: VideoStream) -> VideoCodecContext:
    """Give the decoder of a stream: libvpx where VP8 or VP9 are transparent in parts."""
    name = _TRANSPARENT.get(stream.codec_context.codec.canonical_name)
    if name is not None and stream.metadata.get("alpha_mode") == "1":
        with suppress(av.FFmpegError, ValueError):
            return cast(VideoCodecContext, VideoCodecContext.create(name, "r"))
    stream.thread_type = "AUTO"
    return stream.codec_context


def check_file(path: Path) -> os.stat_result:
    """The status of a file that can be opened.

    Raises:
        VideoError: it is missing, empty, may not be read, or is no regular file.
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
    """What the file says about its times.

    Seconds are those that an HTML video element seeks to. A browser plays mp4, mkv and webm by
    their time stamps: in a file whose pictures start at 3 s, second 3 shows the first picture.
    Only a stamp below 0 moves the clock. Files that browsers do not play count from their start.
    """
    played = container.format.name.split(",")[0] in PLAYED_AS_STAMPED
    start = _seconds(stream.start_time, float(stream.time_base or 0))
    file_start = _seconds(container.start_time, 1 / av.time_base)
    first = start if start is not None else file_start or 0.0
    zero = min(first, 0.0) if played else (file_start if file_start is not None else first)
    length = _seconds(stream.duration, float(stream.time_base or 0))
    file_length = _seconds(container.duration, 1 / av.time_base)
    if container.format.name.startswith("matroska"):
        file_start = 0.0  # its duration is the time of its end
    rate = stream.average_rate or stream.guessed_rate
    return Header(
        zero=zero,
        end=None if length is None else first + length - zero,
        file_end=None if file_length is None else (file_start or 0.0) + file_length - zero,
        frame_seconds=min(float(1 / rate), LONGEST_FRAME) if rate else 0.04,
    )


def _seconds(count: int | None, unit: float) -> float | None:
    return None if count is None else count * unit


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).splitlines()[0]
