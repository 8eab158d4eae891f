"""Ways to begin in the middle of a file with the seconds that reading it all would give."""

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

# Formats that say where the picture of a second lies. In others a file is read through once.
_INDEXED = {"mov", "matroska", "avi", "asf", "dv"}
_BACK = (0.0, 1.0, 5.0, 30.0)  # seconds by which a seek begins ahead, until it is far enough
_SOUGHT = 500  # packets behind a seek among which the keyframe must be


@dataclass(frozen=True)
class Keyframe:
    """A place in a file where decoding can begin.

    Args:
        second: at which its picture is shown, on the clock of the whole file.
        position: byte of the file at which its packet begins.
        stamp: presentation time that the file gives it, in units of the stream.
        offset: seconds that the clock adds there to the stamps of the file.
    """

    second: float
    position: int
    stamp: int
    offset: float


Place = float | Keyframe | None


def is_broadcast(container: InputContainer) -> bool:
    """Check whether the clock of a file's format may be set anew in the middle."""
    discontinuous = container.format.flags & cast(int, Flags.ts_discont.value)
    return bool(discontinuous) or container.format.name == "flv"


def is_numbered(container: InputContainer) -> bool:
    """Check for AVI, which numbers pictures as they are decoded; they are shown in turn."""
    return container.format.name == "avi"


def new_clock(
    container: InputContainer, stream: VideoStream, header: Header, place: Place = None
) -> Clock:
    """Make the clock for reading a file from a place on."""
    offset = place.offset if isinstance(place, Keyframe) else 0.0
    return Clock(
        stream.index, is_broadcast(container), header.frame_seconds, is_numbered(container), offset
    )


def places(path: Path, second: float) -> list[Place]:
    """List places to begin at for the picture of a second; the first that is early enough serves.

    Args:
        path: of the video.
        second: as a player counts.

    Returns:
        Seconds to seek to, a keyframe, and at last None for the beginning of the file.

    Raises:
        VideoError: see `open_video`.
    """
    if second <= 0:
        return [None]
    status = check_file(path)
    found = _keyframes(path, status.st_size, status.st_mtime_ns)
    if found is None:
        return [*(second - back for back in _BACK if second > back), None]
    early = [key for key in found if key.second <= second]
    return [early[-1], None] if early else [None]


def packets_from(
    container: InputContainer, stream: VideoStream, header: Header, place: Place
) -> Iterator[Packet]:
    """Demultiplex all streams of a file that was just opened, from a place on.

    Nothing comes if the place cannot be found.
    """
    try:
        if isinstance(place, Keyframe):
            container.seek(place.position, unsupported_byte_offset=True)
        elif place is not None and stream.time_base:
            stamp = int((place + header.zero) / float(stream.time_base))
            container.seek(stamp, backward=True, stream=stream)
            if is_numbered(container):  # turns are certain only from the second keyframe on
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
    """Check by its byte and its stamp whether a packet is the one that was sought.

    Neither is enough: libav counts a raw stream anew behind a seek, and guesses the stamp of the
    first packet behind it in Ogg.
    """
    found = packet.stream_index == stream.index and packet.pos == place.position
    return found and packet.pts == place.stamp


@lru_cache(maxsize=256)
def _keyframes(path: Path, size: int, mtime_ns: int) -> Sequence[Keyframe] | None:
    """Read the packets of a file without an index once; None if it has one.

    Keyframes that are not clearly before the next one, in bytes and seconds, are left out.
    """
    found: list[Keyframe] = []
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
                found.append(Keyframe(second, packet.pos, packet.pts - ticks, clock.picture_offset))
        except BROKEN:
            pass  # nothing can be read behind it
    clear = [key for key, after in pairwise(found) if _apart(key, after)]
    return [*clear, *found[-1:]]


def _apart(key: Keyframe, after: Keyframe) -> bool:
    return key.position < after.position and key.second < after.second
