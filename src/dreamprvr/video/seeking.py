"""Begin in the middle of a file, with the same seconds as if it were read from its start."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import cast

import av
from av.container import InputContainer
from av.format import Flags
from av.packet import Packet
from av.video.stream import VideoStream

from dreamprvr.video.clock import Clock
from dreamprvr.video.source import BROKEN, Header, check_file, open_video, read_header

# Formats with an index of places by seconds. Files of other formats are read through once.
_INDEXED = {"mov", "matroska", "avi", "asf", "dv"}
_BACK = (0.0, 1.0, 5.0, 30.0)  # seconds before the target at which a seek is tried in turn
_SOUGHT = 500  # packets after a seek among which the keyframe must be


@dataclass(frozen=True)
class Keyframe:
    """A place in a file where decoding can begin.

    Args:
        second: second at which its picture is shown, on the clock of the whole file.
        position: byte of the file at which its packet begins.
        stamp: presentation time in the file, in units of the stream.
        offset: seconds that the clock adds to the stamps of the file at this place.
    """

    second: float
    position: int
    stamp: int
    offset: float


Place = float | Keyframe | None
"""A place to begin at: a second to seek to, a keyframe, or None for the start of the file."""


def is_broadcast(container: InputContainer) -> bool:
    """Check that the format of a file allows its clock to restart in the middle."""
    discontinuous = container.format.flags & cast(int, Flags.ts_discont.value)
    return bool(discontinuous) or container.format.name == "flv"


def is_numbered(container: InputContainer) -> bool:
    """Check for AVI, which numbers pictures in the order of decoding and shows them in turn."""
    return container.format.name == "avi"


def new_clock(
    container: InputContainer, stream: VideoStream, header: Header, place: Place = None
) -> Clock:
    """Make the clock for reading a file from a place on.

    Args:
        container: the file.
        stream: its stream of pictures.
        header: times of its header.
        place: place at which reading begins.
    """
    offset = place.offset if isinstance(place, Keyframe) else 0.0
    return Clock(
        stream.index, is_broadcast(container), header.frame_seconds, is_numbered(container), offset
    )


def places(path: Path, second: float) -> list[Place]:
    """List places to begin at for the picture of a second, of which to use the first early enough.

    Args:
        path: path of the video.
        second: second as a player counts.

    Returns:
        Seconds to seek to, or a keyframe; and at last None for the start of the file.

    Raises:
        VideoError: see `open_video`.
    """
    if second <= 0:
        return [None]
    status = check_file(path)
    keyframes = _keyframes(path, status.st_size, status.st_mtime_ns)
    if keyframes is None:
        return [*(second - back for back in _BACK if second > back), None]
    early = [key for key in keyframes if key.second <= second]
    return [early[-1], None] if early else [None]


def packets_from(
    container: InputContainer, stream: VideoStream, header: Header, place: Place
) -> Iterator[Packet]:
    """Give the packets of all streams of a file from a place on.

    Args:
        container: the file, just opened.
        stream: its stream of pictures.
        header: times of its header.
        place: place at which to begin. If it cannot be found, there are no packets.
    """
    try:
        if isinstance(place, Keyframe):
            container.seek(place.position, unsupported_byte_offset=True)
        elif place is not None and stream.time_base:
            stamp = int((place + header.zero) / float(stream.time_base))
            container.seek(stamp, backward=True, stream=stream)
            if is_numbered(container):  # the order is certain only from the second keyframe on
                stamps = (packet.dts for packet in container.demux(stream))
                before = max(next(dts for dts in stamps if dts is not None) - 1, 0)
                container.seek(before, backward=True, stream=stream)
    except (av.FFmpegError, StopIteration):
        return
    packets = container.demux()
    if isinstance(place, Keyframe):
        for _, packet in zip(range(_SOUGHT), packets, strict=False):
            if _is_at(packet, stream, place):
                yield packet
                yield from packets
                return
        return
    yield from packets


def _is_at(packet: Packet, stream: VideoStream, place: Keyframe) -> bool:
    """Check by its byte and its stamp that a packet is the one that was sought.

    One of them is not enough: after a seek, libav counts the bytes of a raw stream anew, and
    guesses the stamp of the first packet in Ogg.
    """
    same_byte = packet.stream_index == stream.index and packet.pos == place.position
    return same_byte and packet.pts == place.stamp


@lru_cache(maxsize=256)
def _keyframes(path: Path, size: int, mtime_ns: int) -> Sequence[Keyframe] | None:
    """List the keyframes of a file without an index; None if the file has one.

    Keyframes that are not before the next one in bytes and in seconds are left out.

    Args:
        path: path of the file.
        size: size of the file, by which a changed file is read again.
        mtime_ns: time of the file's last change, likewise.
    """
    keyframes: list[Keyframe] = []
    with open_video(path) as (container, stream):
        if container.format.name.split(",")[0] in _INDEXED:
            return None
        header = read_header(container, stream)
        clock = new_clock(container, stream, header)
        unit = float(stream.time_base or 0)
        try:
            for packet in clock.joined(container.demux()):
                if packet.stream_index != stream.index or not packet.is_keyframe:
                    continue
                if packet.pts is None or packet.pos is None or packet.pos < 0:
                    continue
                ticks = round(clock.picture_offset / unit) if unit else 0
                second = packet.pts * unit - header.zero
                keyframes.append(
                    Keyframe(second, packet.pos, packet.pts - ticks, clock.picture_offset)
                )
        except BROKEN:
            pass  # nothing can be read after this place
    clear = [
        key for key, after in pairwise(keyframes)
        if key.position < after.position and key.second < after.second
    ]  # fmt: skip
    return [*clear, *keyframes[-1:]]
