"""Writes a part of a video, or all of it, as an mp4 that every browser plays."""

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame

from dreamprvr.errors import UserError
from dreamprvr.serve.containers import Shape, first_second, open_video, shape_of

RATE = 48_000  # audio samples a second
_TICKS = 90_000  # of the video's clock, a second
_QUALITY: dict[str, object] = {"preset": "veryfast", "crf": "23"}
_FRONT = {"movflags": "faststart"}  # the index comes first: playing begins at once
_SLACK = 5.0  # seconds that the sound may lie behind the picture in a file
Report = Callable[[float], None]


def transcode(
    source: Path, target: Path, start: float, end: float | None, longest: int, report: Report
) -> None:
    """Encode [start, end) as H.264 and AAC; the result begins at 0.

    Frames keep their times, so a variable frame rate stays one.

    Args:
        source: any video that PyAV decodes.
        target: the mp4; it is overwritten.
        start: seconds as a player shows them.
        end: seconds; None for the end of the file.
        longest: pixels of the longer side, at most.
        report: called now and then with the share done; what it raises ends the work.

    Raises:
        UserError: the source cannot be decoded, or has no picture in the span.
    """
    shape = _first_shape(source, longest)
    with (
        open_video(source) as reader,
        av.open(target, "w", format="mp4", container_options=_FRONT) as writer,
    ):
        _Span(reader, writer, shape, start, end, report).run()


def copy_streams(source: Path, target: Path, report: Report) -> None:
    """Put the first picture and sound into an mp4 without encoding them again.

    Raises:
        UserError: the source cannot be read.
    """
    with (
        open_video(source) as reader,
        av.open(target, "w", format="mp4", container_options=_FRONT) as writer,
    ):
        length = float((reader.duration or 0) / av.time_base) or 1.0
        streams = [*reader.streams.video[:1], *reader.streams.audio[:1]]
        copies = {stream.index: writer.add_stream_from_template(stream) for stream in streams}
        for packet in _timed(reader.demux(streams)):
            report(0.99 * max(float(packet.dts * packet.time_base) / length, 0.0))
            packet.stream = copies[packet.stream.index]
            writer.mux(packet)


def _timed(packets: Iterable[Any]) -> Iterator[Any]:
    """Packets, all with a decoding time: where frames are reordered, Matroska's first have none."""
    waiting: dict[int, list[Any]] = {}
    for packet in packets:
        if packet.pts is None and packet.dts is None:  # the empty one at the end
            continue
        held = waiting.setdefault(packet.stream.index, [])
        if packet.dts is None:
            held.append(packet)
            continue
        yield from _backdated(held, packet.dts)
        held.clear()
        yield packet
    for held in waiting.values():
        yield from _backdated(held, min((packet.pts for packet in held), default=0))


def _backdated(packets: list[Any], dts: int) -> Iterator[Any]:
    """Packets with decoding times that lead up to that of the next one."""
    for i, packet in enumerate(packets):
        packet.dts = dts - (len(packets) - i) * (packet.duration or 1)
        yield packet


def _first_shape(source: Path, longest: int) -> Shape:
    with open_video(source) as reader:
        for packet in reader.demux(reader.streams.video[0]):
            for frame in _frames(packet):
                return shape_of(frame, reader.streams.video[0].sample_aspect_ratio, longest)
    raise UserError(f"{source.name} has no picture")


class _Span:
    """The state of one `transcode`."""

    def __init__(
        self, reader: InputContainer, writer: OutputContainer, shape: Shape, start: float,
        end: float | None, report: Report,
    ) -> None:  # fmt: skip
        self.reader, self.writer, self.shape, self.report = reader, writer, shape, report
        self.start, self.end = start, float("inf") if end is None else end
        self.zero = first_second(reader)
        whole = float((reader.duration or 0) / av.time_base)
        self.length = max(min(self.end, whole or self.end) - start, 1e-3)
        self.picture = reader.streams.video[0]
        self.picture.thread_type = "AUTO"
        self.sound = next(iter(reader.streams.audio), None)
        self.video: Any = writer.add_stream("libx264", rate=self.picture.average_rate or 30)
        self.video.width, self.video.height = shape.width, shape.height
        self.video.pix_fmt, self.video.options = "yuv420p", _QUALITY
        self.video.codec_context.time_base = Fraction(1, _TICKS)
        self.audio: Any = None
        if self.sound is not None:
            self.audio = writer.add_stream("aac", rate=RATE, layout="stereo")
            self.resampler = AudioResampler("fltp", "stereo", RATE)
        self.last_tick = -1
        self.samples = 0  # of sound, written so far
        self.before: VideoFrame | None = None  # the picture that is on the screen at `start`

    def run(self) -> None:
        if self.start > 0:  # to the keyframe before
            self.reader.seek(int((self.start + self.zero) * av.time_base), backward=True)
        streams = [stream for stream in (self.picture, self.sound) if stream is not None]
        open_streams = {stream.index for stream in streams}
        for packet in self.reader.demux(streams):
            for frame in _frames(packet):
                time = float(frame.time) - self.zero
                if time >= self.end:
                    open_streams.discard(packet.stream.index)
                    if time > self.end + _SLACK:
                        open_streams.clear()
                elif isinstance(frame, VideoFrame):
                    self._show(frame, time)
                else:
                    self._sound(frame, time)
            if not open_streams:
                break
        self._finish()

    def _show(self, frame: VideoFrame, time: float) -> None:
        if time < self.start:
            self.before = frame
            return
        self.report(0.99 * (time - self.start) / self.length)
        tick = round((time - self.start) * _TICKS)
        if tick > 0 and self.before is not None:
            self._encode(self.before, 0)
        self.before = None
        self._encode(frame, tick)

    def _encode(self, frame: VideoFrame, tick: int) -> None:
        if tick <= self.last_tick:  # a broken time stamp
            return
        picture = self.shape.upright(frame)
        picture.pts, picture.time_base = tick, Fraction(1, _TICKS)
        picture.pict_type = 0  # the encoder chooses its own keyframes
        self.last_tick = tick
        self.writer.mux(self.video.encode(picture))

    def _sound(self, frame: AudioFrame, time: float) -> None:
        at = round((time - self.start) * RATE)
        frame.pts = None  # gaps are filled below
        pieces = [piece.to_ndarray() for piece in self.resampler.resample(frame)]
        if not pieces:
            return
        sound = np.concatenate(pieces, axis=1)  # (2, n)
        if at > self.samples + RATE // 10:  # it begins late, or has a hole
            self._write_sound(np.zeros((2, at - self.samples), np.float32))
        if at < 0:
            sound = sound[:, -at:]
        if self.end != float("inf"):
            sound = sound[:, : max(round((self.end - self.start) * RATE) - self.samples, 0)]
        self._write_sound(sound)

    def _write_sound(self, sound: np.ndarray) -> None:
        for i in range(0, sound.shape[1], RATE):
            piece = np.ascontiguousarray(sound[:, i : i + RATE])
            frame = AudioFrame.from_ndarray(piece, "fltp", "stereo")
            frame.sample_rate, frame.pts, frame.time_base = RATE, self.samples, Fraction(1, RATE)
            self.samples += piece.shape[1]
            self.writer.mux(self.audio.encode(frame))

    def _finish(self) -> None:
        if self.before is not None:
            self._encode(self.before, 0)
        if self.last_tick < 0:
            raise UserError(f"{Path(self.reader.name).name} has no picture in that span")
        for stream in (self.video, self.audio):
            if stream is not None:
                self.writer.mux(stream.encode(None))
        self.report(1.0)


def _frames(packet: Packet) -> list[Any]:
    """The frames of a packet that have a time; a broken packet has none."""
    try:
        return [frame for frame in packet.decode() if frame.time is not None]
    except av.InvalidDataError:
        return []
