"""One clock for a whole file, also where the clock of the file itself jumps."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from av.packet import Packet

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
        unit: of the stamps; 0 for what is neither picture nor sound.
        offset: added to the file's stamps.
        last: stamp by which packets are ordered, of the last one, as the file has it.
        decoding: `last` is a decoding time; Matroska's first packets have none.
        length: of the last packet.
        newest: begin of the last picture or sound, on the joined clock.
        end: of what was read, on the joined clock.
        ahead: end at which it jumped before the pictures did; None if it did not.
        seen: jumps of the pictures that it has followed.
    """

    unit: float = 0.0
    offset: float = 0.0
    last: float | None = None
    decoding: bool = False
    length: float = 0.0
    newest: float | None = None
    end: float | None = None
    ahead: float | None = None
    seen: int = 0

    def seconds(self, count: int | None) -> float | None:
        """Convert a stamp of the file."""
        return None if count is None else count * self.unit

    def stamp(self, packet: Packet) -> float | None:
        """Second by which the packets of the stream are ordered."""
        return self.seconds(packet.pts if packet.dts is None else packet.dts)


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
        if packet.size:
            track = self._track(packet)
            if track.unit:
                if packet.stream_index != self.pictures and self._jumps(packet):
                    self._follow(packet)
                self._move(track, packet)
        return packet

    def _track(self, packet: Packet) -> _Track:
        found = self._tracks.get(packet.stream_index)
        if found is None:
            found = self._tracks[packet.stream_index] = _Track()
            if packet.stream.type in ("video", "audio"):
                found.unit = float(packet.stream.time_base or 0)
            pictures = self._tracks.get(self.pictures, found)
            found.seen, found.offset = pictures.seen, pictures.offset
            if pictures is found:
                found.offset = self.offset
        return found

    def _jumps(self, packet: Packet) -> bool:
        track = self._tracks.get(packet.stream_index)
        if not packet.size or track is None or track.last is None:
            return False
        stamp, decoding = track.stamp(packet), packet.dts is not None
        if stamp is None or decoding != track.decoding:
            return False
        limit = BROKEN_JUMP if self.broadcast else REAL_GAP
        if stamp - track.last - track.length > limit:
            return packet.stream_index == self.pictures or not self._in_time(track, packet)
        if stamp < track.last - (_BACK if decoding else 10 * _BACK):
            return True
        if packet.is_keyframe and packet.stream_index == self.pictures and not self.numbered:
            # all pictures that are decoded before a keyframe are shown before it
            begin = track.seconds(packet.pts)
            if begin is not None and track.newest is not None:
                ahead = begin + track.offset - track.newest
                again = self.broadcast and stamp <= track.last + _SAME
                return ahead < (_SAME if again else -_SAME)
        return False

    def _in_time(self, track: _Track, packet: Packet) -> bool:
        """Whether a stream that leaps ahead was only silent for a while."""
        pictures = self._tracks.get(self.pictures)
        if pictures is None or pictures.end is None:
            return True
        return abs((track.stamp(packet) or 0.0) + track.offset - pictures.end) < _APART

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
        first, stamp = held[0], track.stamp(held[0]) or 0.0
        before = (track.last or 0.0) + track.offset + (track.length or self.frame_seconds)
        track.offset = before - stamp
        mine = [packet for packet in held if packet.stream_index == first.stream_index]
        begins = [packet.pts for packet in mine if packet.pts is not None]
        if first.is_keyframe and begins and track.end is not None:
            track.offset = track.end - min(begins) * track.unit
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
            track.offset = end - (track.stamp(packet) or 0.0)
            track.ahead = end

    def _move(self, track: _Track, packet: Packet) -> None:
        stamp = track.stamp(packet)
        if stamp is not None:
            track.last, track.decoding = stamp, packet.dts is not None
        track.length = (packet.duration or 0) * track.unit
        if not track.length and packet.stream_index == self.pictures:
            track.length = self.frame_seconds
        begin = stamp if packet.pts is None else packet.pts * track.unit
        if begin is not None:
            begin += track.offset
            track.newest = begin if track.newest is None else max(track.newest, begin)
            end = begin + track.length
            track.end = end if track.end is None else max(track.end, end)
        if track.offset:
            ticks = round(track.offset / track.unit)
            packet.pts = None if packet.pts is None else packet.pts + ticks
            packet.dts = None if packet.dts is None else packet.dts + ticks
