"""One clock for a whole file, also where the clock of the file itself jumps."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from av.packet import Packet
from av.stream import Stream

BROKEN_JUMP = 10.0  # seconds: in a broadcast the clock was set; players go on at once
REAL_GAP = 24 * 3600.0  # seconds: in a file with an index a pause as long as this is believed
_BACK = 0.1  # seconds by which decoding times may be out of order, as some writers guess them
_SAME = 1e-3  # seconds by which stamps of the same instant differ
_APART = 3.0  # seconds that sound and pictures of the same instant lie apart in a file
_HELD = 64  # packets looked at to find the first picture behind a jump


@dataclass
class _Track:
    """The clock of one stream; all in seconds.

    Args:
        offset: added to the file's stamps.
        last: stamp by which packets are ordered, of the last one, as the file has it.
        decoding: `last` is a decoding time; Matroska's first packets have none.
        length: of the last packet.
        newest: begin of the last picture or sound, on the joined clock.
        end: of what was read, on the joined clock.
        ahead: end at which it jumped before the pictures did; None if it did not.
        seen: jumps of the pictures that it has followed.
    """

    offset: float = 0.0
    last: float | None = None
    decoding: bool = False
    length: float = 0.0
    newest: float | None = None
    end: float | None = None
    ahead: float | None = None
    seen: int = 0


@dataclass
class Clock:
    """Moves the time stamps of packets so that they go on where the file's clock jumps.

    A clock that runs backwards was set anew: recordings were joined, or the sender was restarted.
    So was one that leaps ahead by more than `limit`. Players then show the next picture after the
    last one, and so does this clock. Sound follows the pictures.

    Args:
        pictures: index of the video stream.
        broadcast: the format has no index, and its clock may be set at any time.
        frame_seconds: of a picture, where the file does not say.
        numbered: only decoding times can be believed.
        offset: seconds to add to the stamps, if reading begins behind a jump.

    Attributes:
        joins: seconds, on this clock before its zero is taken off, at which the file's clock
            jumped.
    """

    pictures: int
    broadcast: bool
    frame_seconds: float
    numbered: bool = False
    offset: float = 0.0
    joins: list[float] = field(default_factory=list)
    _tracks: dict[int, _Track] = field(default_factory=dict)

    @property
    def picture_offset(self) -> float:
        """Seconds that are added now to the stamps of the pictures."""
        track = self._tracks.get(self.pictures)
        return self.offset if track is None else track.offset

    def joined(self, packets: Iterable[Packet]) -> Iterator[Packet]:
        """Give the packets in their order, with stamps on one clock."""
        source = iter(packets)
        for packet in source:
            if packet.stream_index != self.pictures or not self._jumps(packet):
                yield self._placed(packet)
                continue
            held = [packet, *self._until_complete(packet, source)]
            self._join(held)
            yield from map(self._placed, held)

    def _placed(self, packet: Packet) -> Packet:
        if packet.size and packet.stream.type in ("video", "audio"):
            if packet.stream_index != self.pictures and self._jumps(packet):
                self._follow(packet)
            self._move(self._track(packet), packet)
        return packet

    def _track(self, packet: Packet) -> _Track:
        pictures = self._tracks.get(self.pictures)
        new = _Track(pictures.offset, seen=pictures.seen) if pictures else _Track(self.offset)
        return self._tracks.setdefault(packet.stream_index, new)

    def _jumps(self, packet: Packet) -> bool:
        track, stamp = self._tracks.get(packet.stream_index), _stamp(packet)
        decoding = packet.dts is not None
        if not packet.size or track is None or track.last is None or stamp is None:
            return False
        if decoding != track.decoding:
            return False
        limit = BROKEN_JUMP if self.broadcast else REAL_GAP
        if stamp - track.last - track.length > limit:
            return packet.stream_index == self.pictures or not self._in_time(track, packet)
        if stamp < track.last - (_BACK if decoding else 10 * _BACK):
            return True
        if packet.is_keyframe and packet.stream_index == self.pictures and not self.numbered:
            # all pictures that are decoded before a keyframe are shown before it
            begin = _seconds(packet.pts, packet.stream)
            if begin is not None and track.newest is not None:
                ahead = begin + track.offset - track.newest
                return ahead < (_SAME if self.broadcast else -_SAME)
        return False

    def _in_time(self, track: _Track, packet: Packet) -> bool:
        """Whether a stream that leaps ahead was only silent for a while."""
        pictures = self._tracks.get(self.pictures)
        if pictures is None or pictures.end is None:
            return True
        return abs((_stamp(packet) or 0.0) + track.offset - pictures.end) < _APART

    def _until_complete(self, first: Packet, source: Iterator[Packet]) -> list[Packet]:
        """Packets that follow a jump at a keyframe, until its first picture is among them."""
        if not first.is_keyframe or first.pts is None or first.dts is None:
            return []
        begin, held = first.pts, []
        for packet in source:
            held.append(packet)
            if packet.stream_index == first.stream_index and packet.size:
                if packet.dts is None or packet.dts >= begin or len(held) >= _HELD:
                    break
                begin = min(begin, begin if packet.pts is None else packet.pts)
        return held

    def _join(self, held: list[Packet]) -> None:
        """Set the clock of the pictures so that they go on after those before the jump."""
        track = self._tracks[self.pictures]
        first, stamp = held[0], _stamp(held[0]) or 0.0
        before = (track.last or 0.0) + track.offset + (track.length or self.frame_seconds)
        track.offset = before - stamp
        mine = [packet for packet in held if packet.stream_index == first.stream_index]
        begins = [packet.pts for packet in mine if packet.pts is not None]
        if first.is_keyframe and begins and track.end is not None:
            track.offset = track.end - float(min(begins) * first.stream.time_base)
        track.last = None
        track.seen += 1
        self.joins.append(before if track.end is None else track.end)
        for other in self._tracks.values():
            if other is not track and other.ahead is not None and other.end is not None:
                if other.end - other.ahead < _APART:
                    other.offset, other.seen = track.offset, track.seen
                other.ahead = None

    def _follow(self, packet: Packet) -> None:
        """Set the clock of the sound, by that of the pictures if it has jumped already."""
        track = self._tracks[packet.stream_index]
        pictures = self._tracks.get(self.pictures)
        if pictures is not None and track.seen < pictures.seen:
            track.offset, track.seen = pictures.offset, pictures.seen
        else:
            end = track.end if track.end is not None else 0.0
            track.offset = end - (_stamp(packet) or 0.0)
            track.ahead = end

    def _move(self, track: _Track, packet: Packet) -> None:
        stream = packet.stream
        stamp = _stamp(packet)
        if stamp is not None:
            track.last, track.decoding = stamp, packet.dts is not None
        track.length = _seconds(packet.duration, stream) or (
            self.frame_seconds if packet.stream_index == self.pictures else 0.0
        )
        begin = _seconds(packet.pts, stream)
        begin = stamp if begin is None else begin
        if begin is not None:
            begin += track.offset
            track.newest = begin if track.newest is None else max(track.newest, begin)
            end = begin + track.length
            track.end = end if track.end is None else max(track.end, end)
        if track.offset and stream.time_base:
            ticks = round(track.offset / stream.time_base)
            packet.pts = None if packet.pts is None else packet.pts + ticks
            packet.dts = None if packet.dts is None else packet.dts + ticks


def _stamp(packet: Packet) -> float | None:
    """Second by which the packets of a stream are ordered."""
    return _seconds(packet.pts if packet.dts is None else packet.dts, packet.stream)


def _seconds(count: int | None, stream: Stream) -> float | None:
    return None if count is None or not stream.time_base else float(count * stream.time_base)
