"""Writes a part of a video, or all of it, as an mp4 that every browser plays."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.codec.context import Flags
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from dreamprvr.errors import UserError
from dreamprvr.extraction.probe import read_header
from dreamprvr.serve.containers import Shape, open_video, seek_before, shape_of

RATE = 48_000  # audio samples a second
_TICKS = 90_000  # of the video's clock, a second
# without frames out of order the file lasts just as long as its last picture
_QUALITY: dict[str, object] = {"preset": "veryfast", "crf": "23", "bf": "0"}
FRONT = {"movflags": "faststart"}  # the index comes first: playing begins at once
_SLACK = 5.0  # seconds that the sound may lie behind the picture in a file
Report = Callable[[float], None]


def transcode(
    source: Path, target: Path, start: float, end: float | None, longest: int, report: Report
) -> None:
    """Encode [start, end) as H.264 and AAC; the result begins at 0.

    Frames keep their times, so a variable frame rate stays one. The first is shown from the
    beginning, the last until the end.

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
        open_video(source) as (reader, picture),
        av.open(target, "w", format="mp4", container_options=FRONT) as writer,
    ):
        _Span(reader, picture, writer, shape, start, end, report).run()


def _first_shape(source: Path, longest: int) -> Shape:
    with open_video(source) as (reader, picture):
        for packet in reader.demux(picture):
            for frame in _frames(packet):
                return shape_of(frame, picture.sample_aspect_ratio, longest)
    raise UserError(f"{source.name} has no picture")


class _Span:
    """The state of one `transcode`."""

    def __init__(
        self, reader: InputContainer, picture: VideoStream, writer: OutputContainer, shape: Shape,
        start: float, end: float | None, report: Report,
    ) -> None:  # fmt: skip
        self.reader, self.writer, self.shape, self.report = reader, writer, shape, report
        self.start, self.end = start, float("inf") if end is None else end
        header = read_header(reader, picture)
        self.zero, self.frame_seconds = header.zero, header.frame_seconds
        whole = self.end if header.end is None else header.end
        if start >= whole:
            raise UserError(f"{Path(reader.name).name} ends before second {start:.1f}")
        self.length = max(min(self.end, whole) - start, 1e-3)
        self.picture = picture
        self.picture.thread_type = "AUTO"
        self.sound = next(iter(reader.streams.audio), None)
        self.video: Any = writer.add_stream("libx264", rate=self.picture.average_rate or 30)
        self.video.width, self.video.height = shape.width, shape.height
        self.video.pix_fmt, self.video.options = "yuv420p", _QUALITY
        self.video.codec_context.time_base = Fraction(1, _TICKS)
        self.video.codec_context.flags |= Flags.frame_duration  # that of the last one counts
        self.audio: Any = None
        if self.sound is not None:
            self.audio = writer.add_stream("aac", rate=RATE, layout="stereo")
            self.resampler = AudioResampler("fltp", "stereo", RATE)
        self.samples = 0  # of sound, written so far
        self.shown: VideoFrame | None = None  # encoded once it is known for how long
        self.since = 0  # tick from which it is shown

    def run(self) -> None:
        if self.start > 0:
            seek_before(self.reader, self.picture, self.start + self.zero)
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
        tick = 0 if self.shown is None else max(round((time - self.start) * _TICKS), 0)
        if tick < self.since:  # a broken time stamp
            return
        self._encode_until(tick)
        self.shown, self.since = frame, tick
        self.report(0.99 * min(max(time - self.start, 0.0) / self.length, 1.0))

    def _encode_until(self, tick: int) -> None:
        """Encode the picture that is shown, unless another takes its place at once."""
        if self.shown is None or tick == self.since:
            return
        picture = self.shape.upright(self.shown)
        picture.pts, picture.time_base = self.since, Fraction(1, _TICKS)
        picture.duration = tick - self.since
        picture.pict_type = 0  # the encoder chooses its own keyframes
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
        if self.shown is None:
            raise UserError(f"{Path(self.reader.name).name} has no picture in that span")
        last = self.since + max(round(self.frame_seconds * _TICKS), 1)
        if self.end != float("inf"):
            last = max(round((self.end - self.start) * _TICKS), self.since + 1)
        self._encode_until(last)
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
