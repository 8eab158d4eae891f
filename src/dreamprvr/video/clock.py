"""One clock for a whole file, even if the clock of the file itself jumps."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from av.packet import Packet

BROKEN_JUMP = 10.0  # seconds: a longer jump in a broadcast means that the clock was set anew
REAL_GAP = 24 * 3600.0  # seconds: the longest pause that is believed in a file with an index
_BACK = 0.1  # seconds by which decoding times may be out of order, since some writers guess them
_SAME = 1e-3  # seconds by which stamps of the same instant may differ
_APART = 3.0  # seconds by which sound and pictures of the same instant may lie apart in a file
_HELD = 64  # packets that are read to find the first picture after a jump


@dataclass
class _Track:
    """The clock of one stream, in seconds.

    Args:
        unit: length of a unit of its stamps; 0 for streams other than pictures and sound.
        offset: seconds added to the stamps of the file.
        last: stamp in the file of the last packet, by which packets are ordered.
        decoding: True if `last` is a decoding time; the first packets of Matroska have none.
        length: length of the last packet.
        newest: latest start of a picture or sound, on the joined clock.
        end: end of the packets read so far, on the joined clock.
        ahead: end at which the stream jumped before the pictures did; None if it did not.
        seen: number of jumps of the pictures that the stream has followed.
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

    def stamp(self, packet: Packet) -> float | None:
        """Return the second by which the packets of the stream are ordered."""
        count = packet.pts if packet.dts is None else packet.dts
        return None if count is None else count * self.unit


@dataclass
class Clock:
    """Moves the time stamps of packets so that time continues where the clock of the file jumps.

    A clock that runs backwards, or leaps far ahead, was set anew: recordings were joined, or the
    sender was restarted. Players then show the next picture right after the last one, and so does
    this clock. Sound follows the pictures.

    Args:
        pictures: index of the video stream.
        broadcast: True if the format allows the clock to be set anew at any time.
        frame_seconds: length of a picture, if the file does not give it.
        numbered: True if only decoding times are reliable.
        offset: seconds to add to the stamps, if reading begins after a jump.

    Attributes:
        joins: seconds at which the clock of the file jumped, on this clock, without subtracting
            the zero of the header.
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
        """Seconds that are added at present to the stamps of the pictures."""
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
        track = self._tracks.get(packet.stream_index)
        if track is None:
            track = self._tracks[packet.stream_index] = _Track()
            if packet.stream.type in ("video", "audio"):
                track.unit = float(packet.stream.time_base or 0)
            pictures = self._tracks.get(self.pictures, track)
            track.seen, track.offset = pictures.seen, pictures.offset
            if pictures is track:
                track.offset = self.offset
        return track

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
        is_key = packet.is_keyframe and packet.stream_index == self.pictures and not self.numbered
        if is_key and packet.pts is not None and track.newest is not None:
            # all pictures that are decoded before a keyframe must be shown before it
            ahead = packet.pts * track.unit + track.offset - track.newest
            again = self.broadcast and stamp <= track.last + _SAME
            return ahead < (_SAME if again else -_SAME)
        return False

    def _in_time(self, track: _Track, packet: Packet) -> bool:
        """Check that a stream that leaps ahead was only silent for a while."""
        pictures = self._tracks.get(self.pictures)
        if pictures is None or pictures.end is None:
            return True
        return abs((track.stamp(packet) or 0.0) + track.offset - pictures.end) < _APART

    def _until_complete(self, first: Packet, source: Iterator[Packet]) -> list[Packet]:
        """Read packets after a jump at a keyframe, until the first shown picture is among them."""
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
        """Set the clock of the pictures so that they follow those before the jump."""
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
        """Set the clock of the sound, by the clock of the pictures if that has jumped already."""
        track = self._tracks[packet.stream_index]
        pictures = self._tracks.get(self.pictures)
        if pictures is not None and track.seen < pictures.seen:
            track.offset, track.seen = pictures.offset, pictures.seen
        else:
            end = track.end if track.end is not None else 0.0
            track.offset = end - (track.stamp(packet) or 0.0)
            track.ahead = end

    def _move(self, track: _Track, packet: Packet) -> None:
        """Note the times of a packet, and move its stamps to the joined clock."""
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
