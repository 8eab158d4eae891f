"""Writes videos, or parts of them, as mp4 files that every browser plays."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.codec.context import Flags
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

from dreamprvr.serve.containers import NotPlayable, readable
from dreamprvr.serve.workers import Report
from dreamprvr.video.reader import Shown, VideoReader
from dreamprvr.video.source import open_video

RATE = 48_000  # audio samples in a second
_TICKS = 90_000  # ticks of the video's clock in a second
# without frames out of order the file lasts just as long as its last picture
_QUALITY: dict[str, object] = {"preset": "veryfast", "crf": "23", "bf": "0"}
FRONT = {"movflags": "faststart"}  # the index comes first: playing begins at once
_SLACK = 5.0  # seconds that the sound may lie behind the picture in a file


def fitted(shown: Shown, longest: int) -> tuple[int, int]:
    """Return the width and height to give a picture: both even, and never larger than it is.

    Args:
        shown: the picture.
        longest: largest number of pixels of the longer side.
    """
    scale = min(1.0, longest / max(shown.size))
    width, height = (max(2, round(side * scale / 2) * 2) for side in shown.size)
    return width, height


def transcode(
    source: Path, target: Path, start: float, end: float | None, longest: int, report: Report
) -> None:
    """Encode [start, end) as H.264 and AAC; the result begins at 0.

    Frames keep their times, so a variable frame rate stays one. The first is shown from the
    beginning, the last until the end.

    Args:
        source: path of a video that PyAV decodes.
        target: path of the mp4; it is overwritten.
        start: second as a player shows it.
        end: the same; None for the end of the file.
        longest: largest number of pixels of the longer side.
        report: called now and then with the share done; what it raises ends the work.

    Raises:
        NotPlayable: the source cannot be decoded, or has no picture in the span.
    """
    last = float("inf") if end is None else end
    reader = VideoReader(source)
    with (
        readable(source),
        av.open(target, "w", format="mp4", container_options=FRONT) as writer,
    ):
        span = _Span(writer, reader, start, last, longest, report)
        for shown in reader.read(start, span.hear):
            if shown.end <= start:
                raise NotPlayable(f"{source.name} ends before second {start:.1f}")
            if shown.begin < last:
                span.show(shown)
            elif span.heard >= last or shown.begin > last + _SLACK or not reader.has_sound:
                break
        span.finish()


class _Span:
    """The state of one call of `transcode`."""

    def __init__(
        self, writer: OutputContainer, reader: VideoReader, start: float, end: float,
        longest: int, report: Report,
    ) -> None:  # fmt: skip
        self.writer, self.reader, self.longest, self.report = writer, reader, longest, report
        self.start, self.end = start, end
        self.heard = 0.0  # second to which the sound was read
        self.samples = 0  # samples of sound written so far
        self.shown: Shown | None = None  # it is encoded once the next one says for how long
        self.since = 0  # tick from which it is shown

    def _begin(self, first: Shown) -> None:
        whole = min(self.end, self.reader.expected_end or float("inf"))
        self.length = max(whole - self.start, 1e-3)
        self.size = fitted(first, self.longest)
        self.video: Any = self.writer.add_stream("libx264", rate=self.reader.rate or 30)
        self.video.width, self.video.height = self.size
        self.video.pix_fmt, self.video.options = "yuv420p", _QUALITY
        context = self.video.codec_context
        context.time_base = Fraction(1, _TICKS)
        context.flags |= Flags.frame_duration  # that of the last one counts
        context.color_range = ColorRange.MPEG
        context.colorspace = Colorspace.ITU709
        context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        self.audio: Any = None
        if self.reader.has_sound:
            self.audio = self.writer.add_stream("aac", rate=RATE, layout="stereo")
            self.resampler = AudioResampler("fltp", "stereo", RATE)

    def show(self, shown: Shown) -> None:
        """Take the next picture."""
        if self.shown is None:
            self._begin(shown)
        tick = 0 if self.shown is None else max(round((shown.begin - self.start) * _TICKS), 0)
        self._encode_until(tick)
        self.shown, self.since = shown, tick
        self.report(0.99 * min(max(shown.begin - self.start, 0.0) / self.length, 1.0))

    def _encode_until(self, tick: int) -> None:
        """Encode the picture that is shown until a tick, unless it is replaced at once."""
        if self.shown is None or tick <= self.since:
            return
        pixels = VideoFrame.from_ndarray(self.shown.scaled(*self.size), "rgb24")
        picture = pixels.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)
        picture.pts, picture.time_base = self.since, Fraction(1, _TICKS)
        picture.duration = tick - self.since
        self.writer.mux(self.video.encode(picture))

    def hear(self, time: float, frame: AudioFrame) -> None:
        """Take the next piece of sound."""
        self.heard = max(self.heard, time)
        if time >= self.end:
            return
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

    def finish(self) -> None:
        """Encode what is left."""
        if self.shown is None:
            raise NotPlayable(f"{self.reader.path.name} has no picture in that span")
        end = self.shown.end if self.end == float("inf") else self.end
        self._encode_until(max(round((end - self.start) * _TICKS), self.since + 1))
        for stream in (self.video, self.audio):
            if stream is not None:
                self.writer.mux(stream.encode(None))
        self.report(1.0)


def copy_streams(source: Path, target: Path, report: Report) -> None:
    """Copy the first video and audio stream into an mp4 without encoding them again.

    Args:
        source: path of a video.
        target: path of the mp4; it is overwritten.
        report: called with the share done; what it raises ends the work.

    Raises:
        NotPlayable: the source cannot be read.
    """
    with (
        readable(source),
        open_video(source) as (reader, picture),
        av.open(target, "w", format="mp4", container_options=FRONT) as writer,
    ):
        length = float((reader.duration or 0) / av.time_base) or 1.0
        streams = [picture, *reader.streams.audio[:1]]
        copies = {stream.index: writer.add_stream_from_template(stream) for stream in streams}
        for packet in _timed(reader.demux(streams)):
            report(0.99 * max(float(packet.dts * packet.time_base) / length, 0.0))
            packet.stream = copies[packet.stream.index]
            writer.mux(packet)


def _timed(packets: Iterable[Any]) -> Iterator[Any]:
    """Give decoding times to packets that lack them: Matroska's first, if frames are reordered."""
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
    """Give packets decoding times that lead up to that of the next packet."""
    for i, packet in enumerate(packets):
        packet.dts = dts - (len(packets) - i) * (packet.duration or 1)
        yield packet
