"""Video files -> pictures with the seconds for which a player shows them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from dreamprvr.extraction.probe import Header, VideoError, open_video, read_header

MAX_SHORT_SIDE = (
    720  # larger pictures are shrunk: encoders read a few hundred pixels, memory is dear
)
ROUNDING = 1e-4  # seconds: time stamps are whole numbers of some unit, beside round numbers
MAX_GAP = 3600.0  # seconds without a picture, in a file whose time stamps can be believed
MISSING_SHARE, MISSING_SECONDS = 0.02, 1.0  # how much earlier than its header a whole file may end


@dataclass(eq=False)
class Shown:
    """A picture and the span for which it is on the screen; decoded pixels are made on demand.

    Args:
        begin: second, as a player counts.
        end: second at which the next one takes its place.
    """

    begin: float
    end: float
    _frame: VideoFrame
    _aspect: float
    _pixels: np.ndarray | None = field(default=None, repr=False)

    def pixels(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB, upright, square pixels, the short side at most `MAX_SHORT_SIDE`."""
        if self._pixels is None:
            self._pixels = upright(self._frame, self._aspect)
        return self._pixels


class VideoReader:
    """Reads a video once, from its first picture to its last.

    Args:
        path: of the file.

    Attributes:
        warnings: what was odd, in words; complete after the last picture.
        end: second at which the last picture ends; known after it.
        expected_end: second at which the header says that the video ends; None if it does not.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.warnings: list[str] = []
        self.end = 0.0
        self.expected_end: float | None = None
        self._damaged = self._astray = 0

    def __iter__(self) -> Iterator[Shown]:
        """Pictures in the order in which they are shown; each takes over where one ends.

        Raises:
            VideoError: the file gives no picture.
        """
        with open_video(self.path) as (container, stream):
            stream.thread_type = "AUTO"
            header = read_header(container, stream)
            self.expected_end = header.end or header.file_end
            aspect = float(stream.sample_aspect_ratio or 1) or 1.0
            self._last_packet = 0.0
            shown: Shown | None = None
            for seconds, frame in self._timed(container, stream, header):
                if shown is not None:
                    if not self._follows(shown, seconds):
                        continue
                    shown.end = seconds
                    yield shown
                length = _length(frame, stream, header)
                shown = Shown(seconds, seconds + length, frame, aspect)
            if shown is None:
                raise VideoError("no picture could be decoded")
            yield shown
            self.end = shown.end
            self._warn(header)

    def _follows(self, shown: Shown, seconds: float) -> bool:
        """Whether a picture at `seconds` can come after the one shown."""
        if shown.begin < seconds < shown.begin + MAX_GAP:
            return True
        self._astray += seconds != shown.begin
        return False

    def _timed(
        self, container: InputContainer, stream: VideoStream, header: Header
    ) -> Iterator[tuple[float, VideoFrame]]:
        """Frames with their seconds; one without a time stamp follows the one before it."""
        seconds = -header.frame_seconds
        for frame in self._frames(container, stream, header.zero):
            unit = frame.time_base or stream.time_base  # the last ones come without a unit
            if frame.pts is None or unit is None:
                seconds += header.frame_seconds
            else:
                seconds = float(frame.pts * unit) - header.zero
            if seconds > -ROUNDING:  # a player leaves out what is before 0
                yield max(seconds, 0.0), frame

    def _frames(
        self, container: InputContainer, stream: VideoStream, zero: float
    ) -> Iterator[VideoFrame]:
        for packet in self._packets(container):
            if packet is not None and packet.pts is not None:
                end = float((packet.pts + (packet.duration or 0)) * packet.time_base) - zero
                self._last_packet = max(self._last_packet, end)
            if packet is None or packet.stream_index == stream.index:
                try:
                    yield from stream.decode(packet)
                except (av.FFmpegError, ValueError):
                    self._damaged += 1

    def _packets(self, container: InputContainer) -> Iterator[Packet | None]:
        """Packets of all streams, and None at the end: it brings out what the decoder holds."""
        try:
            yield from (packet for packet in container.demux() if packet.size)
        except (av.FFmpegError, ValueError):
            self._damaged += 1  # nothing can be read behind it
        yield None

    def _warn(self, header: Header) -> None:
        expected, reached = header.end, self.end
        if expected is None:  # the header counts the sound too
            expected, reached = header.file_end, max(self.end, self._last_packet)
        if expected and expected - reached > max(MISSING_SECONDS, MISSING_SHARE * expected):
            self.warnings.append(
                f"truncated: ends at {self.end:.1f} s, and its header says {expected:.1f} s"
            )
        if self._damaged:
            self.warnings.append(f"damaged: {self._damaged} pieces could not be read")
        if self._astray:
            self.warnings.append(f"{self._astray} pictures out of time were left out")


def _length(frame: VideoFrame, stream: VideoStream, header: Header) -> float:
    """Seconds for which the last picture is shown."""
    unit = frame.time_base or stream.time_base
    if frame.duration and unit is not None:
        length = float(frame.duration * unit)
        if 0 < length < MAX_GAP:
            return length
    return header.frame_seconds


def upright(frame: VideoFrame, aspect: float) -> np.ndarray:
    """A frame as it is meant to be seen: (H, W, 3) uint8 RGB.

    Args:
        frame: as decoded.
        aspect: width of a pixel by its height.
    """
    width, height = frame.width * max(aspect, 1.0), frame.height / min(aspect, 1.0)
    shrink = min(1.0, MAX_SHORT_SIDE / min(width, height))
    size = max(1, round(width * shrink)), max(1, round(height * shrink))
    pixels = frame.to_ndarray(
        format="rgb24", width=size[0], height=size[1],
        interpolation="AREA" if shrink < 1 else "BICUBIC",
    )  # fmt: skip
    # the angle by which a player turns the picture counterclockwise, as np.rot90 does
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))
