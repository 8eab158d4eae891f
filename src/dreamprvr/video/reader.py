"""Read the pictures of video files, with the seconds for which a player shows them."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from heapq import heappop, heappush
from itertools import chain
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from dreamprvr.video.clock import BROKEN_JUMP, REAL_GAP
from dreamprvr.video.losses import MISSING_SHARE, STEADY, Losses
from dreamprvr.video.picture import is_hdr, upright_rgb, upright_size, upright_yuv
from dreamprvr.video.seeking import (
    Place,
    is_broadcast,
    is_numbered,
    new_clock,
    packets_from,
    places,
)
from dreamprvr.video.source import Header, VideoError, decoder_of, open_video, read_header

MAX_SHORT_SIDE = 720  # pixels; larger pictures are shrunk, as encoders read a few hundred pixels
ROUNDING = 1e-4  # seconds by which time stamps may be rounded
_EXACT = 1.0  # seconds before the wanted ones from which on all pictures are decoded
_WARM_UP = 0.5  # seconds of sound that are decoded before the wanted ones
LONGEST_LAST = 3600.0  # longest time in seconds for which the last picture is shown
MISSING_SECONDS = 1.0  # by which a complete file may end earlier than its header says
Hear = Callable[[float, AudioFrame], None]


@dataclass(eq=False)
class Shown:
    """A picture and the time for which it is on the screen; its pixels are computed on demand.

    Args:
        begin: second at which it appears, as a player counts.
        end: second at which the next picture replaces it.
    """

    begin: float
    end: float
    _frame: VideoFrame
    _aspect: float
    _before: VideoFrame | None = None
    _after: VideoFrame | None = None
    _pixels: np.ndarray | None = field(default=None, repr=False)

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the upright picture in square pixels."""
        return upright_size(self._frame, self._aspect)

    @property
    def interlaced(self) -> bool:
        """True if the stored lines are of two instants; `pixels` shows one of them."""
        return self._frame.interlaced_frame

    def pixels(self) -> np.ndarray:
        """Return (H, W, 3) uint8 sRGB, upright, the short side at most `MAX_SHORT_SIDE`."""
        if self._pixels is None:
            width, height = self.size
            shrink = min(1.0, MAX_SHORT_SIDE / min(width, height))
            self._pixels = self.scaled(
                max(1, round(width * shrink)), max(1, round(height * shrink))
            )
        return self._pixels

    def scaled(self, width: int, height: int) -> np.ndarray:
        """Return the upright picture at another size, (height, width, 3) uint8 sRGB."""
        return upright_rgb(self._frame, (width, height), self._before, self._after)

    def encodable(self, width: int, height: int) -> VideoFrame:
        """Return the same as `scaled` as a yuv420p frame of BT.709; both sides must be even."""
        return upright_yuv(self._frame, (width, height), self._before, self._after)


class VideoReader:
    """Reads a video from its first picture to its last, or from a second on.

    `expected_end`, `rate` and `has_sound` are known from the first picture on, `end` after the last
    one; `warnings`, `lost` and `length` only after the whole video was read.

    Args:
        path: path of the file.

    Attributes:
        warnings: oddities of the video in words.
        end: second at which the last picture ends.
        expected_end: second at which the video ends by its header; None if it does not say.
        rate: average number of pictures in a second; None if the header does not say.
        has_sound: True if there is sound.
        lost: number of seconds that should have pictures and have none.
        length: number of seconds that the video would have if none were lost.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.warnings: list[str] = []
        self.end = self.lost = self.length = 0.0
        self.expected_end: float | None = None
        self.rate: Fraction | None = None
        self.has_sound = False

    def __iter__(self) -> Iterator[Shown]:
        """Give the pictures in their order; each begins where the one before it ends.

        Raises:
            VideoError: the file gives no picture.
        """
        return self.read()

    def read(self, start: float = 0.0, hear: Hear | None = None) -> Generator[Shown, None, None]:
        """Give the pictures from a second on, beginning with the one on the screen then.

        Args:
            start: second to begin at. Before the first picture, reading begins with the first one;
                after the end, it gives the last one.
            hear: function that is called with the second of each piece of sound and the piece, in
                their order in the file.

        Raises:
            VideoError: the file gives no picture.
        """
        for place in places(self.path, start):
            for exact in (0.0,) if place is None else (start - _EXACT, 0.0):
                if (yield from self._read_from(place, exact, start, hear)):
                    return

    def _read_from(
        self, place: Place, exact: float, start: float, hear: Hear | None
    ) -> Generator[Shown, None, bool]:
        """Give the pictures as `read` does, if that is possible from a place.

        Args:
            place: place to begin at.
            exact: second before which pictures that no other one needs are not decoded.
            start: see `read`.
            hear: see `read`.

        Returns:
            False, with nothing given, if the picture on the screen at the start lies before the
            place, or may not have been decoded.
        """
        with open_video(self.path) as (container, stream):
            header = read_header(container, stream)
            self.expected_end = header.end or header.file_end
            self.rate, self.has_sound = stream.average_rate, bool(container.streams.audio)
            reading = _Reading(container, stream, header, place, exact)
            if hear is not None:
                reading.listen_from(start)
            pictures = reading.pictures()
            before = shown = next(pictures, None)
            if place is not None and (shown is None or shown.begin > start + ROUNDING):
                return False
            if shown is None or before is None:
                raise VideoError("no picture could be decoded")
            while shown.end <= start + ROUNDING and (after := next(pictures, None)) is not None:
                before, shown = shown, after
            if before.begin < exact:  # also the one before it, which is needed to deinterlace
                return False
            last = shown
            for last in chain([shown], pictures):
                yield last
                reading.pass_on(hear)
            self.end = last.end
            if start <= 0:
                self.lost, self.length, self.warnings = reading.report(last, self.path)
            return True


class _Reading:
    """One pass over the packets of a file, from a place on.

    Args:
        container: the file, just opened.
        stream: its stream of pictures.
        header: times of its header.
        place: place to begin at, see `places`.
        exact: second before which pictures that no other one needs are not decoded.
    """

    def __init__(
        self, container: InputContainer, stream: VideoStream, header: Header, place: Place,
        exact: float,
    ) -> None:  # fmt: skip
        self._decoder = decoder_of(stream)
        self._container, self._stream, self._header, self._place = container, stream, header, place
        self._clock = new_clock(container, stream, header, place)
        self._sound: AudioStream | None = None
        self._listens_from = 0.0
        self._heard: list[Packet] = []  # decoded late, since frames are ten times as large
        self._gap = BROKEN_JUMP if is_broadcast(container) else REAL_GAP
        self._numbered = is_numbered(container)
        self._decoder.copy_opaque = self._numbered
        self._exact = 0.0 if self._numbered else exact
        # seconds of the pictures in the decoder: by their numbers, and in the order of showing
        self._held: set[float] = set()
        self._turns: list[float] = []
        self._spare = 0
        self._last_packet = 0.0
        self._read_to = 0  # byte of the file up to which it was read
        self._damaged = 0
        self._steady = container.format.name in STEADY
        self._losses = Losses(header.frame_seconds, self._steady)
        self._hdr = False

    def listen_from(self, second: float) -> None:
        """Decode the sound as well, from a little before a second on."""
        self._sound = next(iter(self._container.streams.audio), None)
        self._listens_from = second - _WARM_UP

    def pass_on(self, hear: Hear | None) -> None:
        """Decode the sound that was read so far, and call `hear` with each piece."""
        heard, self._heard = self._heard, []
        for packet in heard:
            try:
                pieces = packet.decode()
            except (av.FFmpegError, ValueError):
                continue
            for piece in pieces:
                if hear is not None and isinstance(piece, AudioFrame) and piece.time is not None:
                    hear(float(piece.time) - self._header.zero, piece)

    def pictures(self) -> Iterator[Shown]:
        """Give the pictures in the order in which they are shown."""
        shown: Shown | None = None
        first: Fraction | None = None  # aspect of the pixels in the first picture
        aspect = float(self._stream.sample_aspect_ratio or 1) or 1.0
        for seconds, frame in self._timed():
            if shown is not None:
                if not shown.begin < seconds < shown.begin + self._gap + 1:
                    self._losses.astray(seconds, shown.begin)
                    continue
                shown.end = seconds
                if shown._frame.interlaced_frame:
                    shown._after = frame
                yield shown
            self._losses.seen(seconds, None if shown is None else shown.begin)
            self._hdr |= is_hdr(frame)
            now = self._decoder.sample_aspect_ratio
            first = now if shown is None else first
            aspect = float(now) if now and now != first else aspect  # the header's is outdated then
            before = shown._frame if shown is not None and frame.interlaced_frame else None
            shown = Shown(seconds, seconds + self._length(frame), frame, aspect, before)
        if shown is not None:
            self._losses.ended(shown.end)
            yield shown

    def _timed(self) -> Iterator[tuple[float, VideoFrame]]:
        """Give the frames with their seconds; one without a stamp follows the one before it."""
        step = self._header.frame_seconds
        seconds = -step
        for frame in self._frames():
            unit = frame.time_base or self._stream.time_base  # the last frames have no unit
            if self._numbered and self._turns:
                seconds = self._turn(frame)
            elif frame.pts is None or unit is None:
                seconds += step
            else:
                seconds = float(frame.pts * unit) - self._header.zero
            if seconds > -ROUNDING:  # a player does not show pictures before 0
                yield max(seconds, 0.0), frame

    def _turn(self, frame: VideoFrame) -> float:
        """Return the second at which a frame of AVI is shown, in the order of showing."""
        own = cast(float | None, frame.opaque)
        if own in self._held:
            self._held.remove(own)
        else:
            self._spare += 1  # its packet held two pictures, as in old AVI files
        if frame.key_frame and own is not None:
            # pictures decoded before a keyframe are shown before it, or were left out
            early = {second for second in self._held if second < own}
            self._held -= early
            for _ in range(min(len(early) - self._spare, len(self._turns) - 1)):
                heappop(self._turns)
            self._spare = 0
        return heappop(self._turns)

    def _frames(self) -> Iterator[VideoFrame]:
        for packet in self._packets():
            second = None if packet is None else self._second(packet)
            seen = packet is None or packet.stream_index == self._stream.index
            if packet is not None and packet.pos is not None and (seen or not self._steady):
                self._read_to = max(self._read_to, packet.pos + packet.size)
            if packet is None or seen:
                if packet is not None and second is not None:
                    self._expect(packet, second)
                    self._decoder.skip_frame = "NONREF" if second < self._exact else "DEFAULT"
                try:
                    yield from self._decoder.decode(packet)
                except (av.FFmpegError, ValueError):
                    self._damaged += 1
            elif self._is_heard(packet, second):
                self._heard.append(packet)

    def _second(self, packet: Packet) -> float | None:
        """Return the second of a packet, and note the latest end of a packet."""
        stamp = packet.dts if self._numbered else packet.pts
        if stamp is None:
            return None
        unit = float(packet.time_base or 0)
        second = stamp * unit - self._header.zero
        length = (packet.duration or 0) * unit
        self._last_packet = max(self._last_packet, second + length)
        return second

    def _expect(self, packet: Packet, second: float) -> None:
        """Note that a packet should give a picture."""
        if self._numbered:
            heappush(self._turns, second)
            self._held.add(second)
            packet.pts, packet.opaque = None, second
        elif not packet.is_discard and second > -ROUNDING:
            self._losses.expect(second)

    def _is_heard(self, packet: Packet, second: float | None) -> bool:
        if self._sound is None or packet.stream_index != self._sound.index:
            return False
        return second is None or second >= self._listens_from

    def _packets(self) -> Iterator[Packet | None]:
        """Give the packets of all streams, and at last None, which empties the decoder."""
        packets = packets_from(self._container, self._stream, self._header, self._place)
        try:
            yield from (packet for packet in self._clock.joined(packets) if packet.size)
        except IndexError:
            pass  # see `BROKEN`
        except (av.FFmpegError, ValueError):
            self._damaged += 1  # nothing can be read after this place
        yield None

    def _length(self, frame: VideoFrame) -> float:
        """Return the time in seconds for which a picture is shown if it is the last one."""
        unit = frame.time_base or self._stream.time_base
        if frame.duration and unit is not None:
            length = float(frame.duration * unit)
            if 0 < length < LONGEST_LAST:
                return length
        return self._header.frame_seconds

    def report(self, last: Shown, path: Path) -> tuple[float, float, list[str]]:
        """Sum up a pass over the whole file.

        Args:
            last: last picture of the video.
            path: path of the file.

        Returns:
            The number of seconds lost, the number of seconds in all, and oddities in words.
        """
        expected, reached = self._header.end, last.end
        if expected is None:  # the header counts the sound too
            expected, reached = self._header.file_end, max(last.end, self._last_packet)
        joins = [second - self._header.zero for second in self._clock.joins]
        losses = self._losses
        if joins:
            losses.joined(joins)
        elif expected and expected - reached > max(MISSING_SECONDS, MISSING_SHARE * expected):
            losses.cut_off(last.end, expected, expected - reached)
        losses.say_missing(self._damaged)
        kind = self._container.format.name.split(",")[0]
        losses.look_behind(path, kind, self._read_to, last.end)
        if self._hdr:
            losses.lines.append(
                "HDR: its colours were mapped to those of an ordinary screen (sRGB)"
            )
        return losses.within + losses.beyond, last.end + losses.beyond, losses.lines
