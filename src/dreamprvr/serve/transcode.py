"""Writes parts of videos as mp4 files that every browser plays."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
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
from dreamprvr.serve.workers import Check
from dreamprvr.video.reader import Shown, VideoReader

RATE = 48_000  # audio samples in a second
TICKS = 90_000  # ticks of the video's clock in a second
BLOCK = 1024  # samples in a packet of AAC
# without frames out of order the file lasts just as long as its last picture
_QUALITY: dict[str, str] = {"preset": "veryfast", "crf": "23", "bf": "0"}
_CLIP = {"movflags": "faststart"}  # the index comes first: playing begins at once
_SLACK = 5.0  # seconds that the sound may lie behind the picture in the file of a clip
_PART = 1.0  # seconds of a clip that are encoded at once


def fitted(shown: Shown, longest: int) -> tuple[int, int]:
    """Return the width and height to give a picture: both even, and never larger than it is.

    Args:
        shown: the picture.
        longest: largest number of pixels of the longer side.
    """
    scale = min(1.0, longest / max(shown.size))
    width, height = (max(2, round(side * scale / 2) * 2) for side in shown.size)
    return width, height


class Sound:
    """The sound of a video as samples on one clock, with silence where the video has none.

    Attributes:
        end: number of the sample after the last one that was heard, counted from second 0.
    """

    def __init__(self) -> None:
        self.end = 0
        self._held: list[tuple[int, np.ndarray]] = []  # number of the first sample, and (2, n)
        self._resampler = AudioResampler("fltp", "stereo", RATE)

    def hear(self, second: float, frame: AudioFrame) -> None:
        """Take the next piece of sound.

        Args:
            second: second at which it begins.
            frame: the piece, with any rate and number of channels.
        """
        at = round(second * RATE)
        # less than a tenth of a second is an error of its stamps, more is a hole
        if not self._held or at > self.end + RATE // 10:
            self.end = at
        frame.pts = None  # the resampler would fill holes
        for piece in self._resampler.resample(frame):
            samples = piece.to_ndarray()
            self._held.append((self.end, samples))
            self.end += samples.shape[1]

    def take(self, begin: int, end: int) -> np.ndarray:
        """Return the samples from `begin` up to `end`, (2, end - begin) float32.

        Samples before `begin` may be forgotten from now on.
        """
        taken = np.zeros((2, end - begin), np.float32)
        for at, samples in self._held:
            first, last = max(begin, at), min(end, at + samples.shape[1])
            if first < last:
                taken[:, first - begin : last - begin] = samples[:, first - at : last - at]
        # the newest stays, by which the next one is placed
        old = [at + samples.shape[1] <= begin for at, samples in self._held[:-1]]
        self._held = self._held[sum(old) :]
        return taken


class Mp4:
    """An mp4 file with H.264 in the colours of BT.709, and AAC if there is sound.

    Args:
        container: the file, opened for writing.
        size: width and height of the pictures.
        rate: average number of pictures in a second.
        has_sound: whether there is a track of sound.
        quality: options of the encoder of pictures.
    """

    def __init__(
        self, container: OutputContainer, size: tuple[int, int],
        rate: Fraction | None, has_sound: bool, quality: Mapping[str, str] = _QUALITY,
    ) -> None:  # fmt: skip
        self._container, self._size = container, size
        self._video: Any = container.add_stream("libx264", rate=rate or 30)
        self._video.width, self._video.height = size
        self._video.pix_fmt = "yuv420p"
        # Otherwise the stream states one picture a tick, and WebKit drops pictures: it takes a gap
        # of more than two stated pictures for a missing one. Pictures keep their times.
        self._video.options = {**quality, "x264-params": "force-cfr=1"}
        context = self._video.codec_context
        context.time_base = Fraction(1, TICKS)
        context.flags |= Flags.frame_duration  # that of the last one counts
        context.color_range = ColorRange.MPEG
        context.colorspace = Colorspace.ITU709
        context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        self._audio: Any = None
        self._kept: range | None = None
        if has_sound:
            self._audio = container.add_stream("aac", rate=RATE, layout="stereo")

    def show(self, picture: VideoFrame, begin: int, end: int) -> None:
        """Encode a picture, unless it is replaced at once.

        Args:
            picture: picture as `Shown.encodable` gives it.
            begin: tick from which it is shown.
            end: tick up to which it is shown.
        """
        if begin >= end:
            return
        picture.pts, picture.time_base = begin, Fraction(1, TICKS)
        picture.duration = end - begin
        self._container.mux(self._video.encode(picture))

    def sound(self, samples: np.ndarray, begin: int, kept: range | None = None) -> None:
        """Encode sound.

        Args:
            samples: (2, n) float32.
            begin: number of its first sample.
            kept: numbers of samples: only packets that begin within are written; None for all.
        """
        self._kept = kept
        for i in range(0, samples.shape[1], RATE):
            piece = np.ascontiguousarray(samples[:, i : i + RATE])
            frame = AudioFrame.from_ndarray(piece, "fltp", "stereo")
            frame.sample_rate, frame.pts, frame.time_base = RATE, begin + i, Fraction(1, RATE)
            self._mux_sound(self._audio.encode(frame))

    def _mux_sound(self, packets: list[Any]) -> None:
        kept = self._kept
        self._container.mux([packet for packet in packets if kept is None or packet.pts in kept])

    def finish(self) -> None:
        """Write what the encoders hold back."""
        self._container.mux(self._video.encode(None))
        if self._audio is not None:
            self._mux_sound(self._audio.encode(None))


@dataclass(frozen=True)
class Picture:
    """A picture that is ready for the encoder.

    Args:
        begin: second at which it appears.
        end: second at which it disappears.
        frame: its pixels, as `Shown.encodable` gives them.
    """

    begin: float
    end: float
    frame: VideoFrame


class Cutter:
    """Reads a video from a second on, part by part, for the encoders.

    Args:
        path: path of the video.
        start: second at which the first part begins, as a player shows it.
        longest: largest number of pixels of a picture's longer side.
        stop: second from which on no pictures are needed.

    Attributes:
        reader: gives the pictures.
        sound: sound that was read so far.
        size: width and height of all pictures, known from the first part on.
        is_over: True once a part had the last picture.
    """

    def __init__(self, path: Path, start: float, longest: int, stop: float = float("inf")) -> None:
        self.reader = VideoReader(path)
        self.sound = Sound()
        self.size = (0, 0)
        self.is_over = self._is_read = False
        self._start, self._longest, self._stop = start, longest, stop
        self._shown = self.reader.read(start, self.sound.hear)
        self._held: list[Picture] = []  # read, and on the screen in the next part or later
        self._read_to = start  # second

    def part(self, begin: float, end: float, waits: float, check: Check) -> list[Picture]:
        """Return the pictures of the next part of the video.

        Args:
            begin: second at which the part begins, where the last one ended.
            end: second at which it ends.
            waits: also read the sound up to a little after the end, which may lie behind the
                pictures in the file by so many seconds; 0 does not wait for it.
            check: called now and then; what it raises ends the work.

        Returns:
            The pictures in their order. The first one begins with the part, and the last one ends
            with it, or with the video.

        Raises:
            NotPlayable: the video ends before the part, or cannot be decoded.
        """
        with readable(self.reader.path):
            while not self._has(end, waits):
                shown = next(self._shown, None)
                if shown is None:
                    self._is_read = True
                    break
                self._take(shown)
                check()
        seen = [picture for picture in self._held if picture.begin < end]
        if not seen or (seen[-1].end <= begin and self._is_read):
            raise NotPlayable(f"{self.reader.path.name} ends before second {begin:.1f}")
        self._held = self._held[len(seen) - 1 :]  # the last one may stay on the screen
        begins = [begin, *(max(picture.begin, begin) for picture in seen[1:])]
        last = seen[-1].end
        self.is_over = self._is_read and len(self._held) == 1 and last <= end
        ends = [*begins[1:], last if self.is_over else end]
        return [
            Picture(since, until, picture.frame)
            for since, until, picture in zip(begins, ends, seen, strict=True)
        ]

    def _take(self, shown: Shown) -> None:
        begin = shown.begin
        if not self._held:
            self.size = fitted(shown, self._longest)
            begin = min(begin, self._start)  # the first one is shown from the beginning
        self._read_to = shown.end
        if begin < self._stop:
            self._held.append(Picture(begin, shown.end, shown.encodable(*self.size)))

    def _has(self, end: float, waits: float) -> bool:
        """Return whether the file was read far enough for a part that ends at a second."""
        if self._is_read:
            return True
        if self._read_to <= end or not self._held:
            return False
        is_heard = not self.reader.has_sound or self.sound.end >= end * RATE + 2 * BLOCK
        return is_heard or self._read_to > end + waits

    def close(self) -> None:
        """Close the file."""
        self._shown.close()


def transcode(
    source: Path, target: Path, start: float, end: float, longest: int, check: Check
) -> None:
    """Encode [start, end) as H.264 and AAC; the result begins at 0.

    Frames keep their times, so a variable frame rate stays one. The first is shown from the
    beginning, the last until the end.

    Args:
        source: path of a video that PyAV decodes.
        target: path of the mp4; it is overwritten.
        start: second as a player shows it.
        end: the same.
        longest: largest number of pixels of the longer side.
        check: called now and then; what it raises ends the work.

    Raises:
        NotPlayable: the source cannot be decoded, or has no picture in the span.
    """
    with (
        closing(Cutter(source, start, longest, stop=end)) as cutter,
        av.open(target, "w", format="mp4", container_options=_CLIP) as container,
    ):
        mp4: Mp4 | None = None
        begin, written, first = start, 0, round(start * RATE)
        last: Picture | None = None  # it is encoded once the next one says for how long
        while begin < end and not cutter.is_over:
            until = min(begin + _PART, end)
            pictures = cutter.part(begin, until, _SLACK if until == end else 0.0, check)
            if mp4 is None:
                mp4 = Mp4(container, cutter.size, cutter.reader.rate, cutter.reader.has_sound)
            for picture in pictures:
                if last is not None and picture.frame is not last.frame:
                    mp4.show(last.frame, *ticks(last.begin - start, picture.begin - start))
                    last = None
                last = last or picture
            heard = min(cutter.sound.end, round(end * RATE)) - first
            if cutter.reader.has_sound and heard > written:
                mp4.sound(cutter.sound.take(first + written, first + heard), written)
                written = heard
            begin = until
        if mp4 is not None and last is not None:
            mp4.show(last.frame, *ticks(last.begin - start, end - start))
            mp4.finish()


def ticks(*seconds: float) -> list[int]:
    """Convert seconds to ticks of the video's clock."""
    return [round(second * TICKS) for second in seconds]
