"""Tiny videos whose frames show their own time as a pattern of bars."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

TICKS = 1000  # a second, of all time stamps here
BITS, ROWS = 8, 2  # bars of a frame: 16 bits, hundredths of a second
SIZE = (128, 64)


def picture(seconds: float, size: tuple[int, int] = SIZE) -> np.ndarray:
    """(H, W, 3) uint8: two rows of black and white bars, the highest bit first."""
    value = round(seconds * 100)
    bits = [value >> place & 1 for place in reversed(range(BITS * ROWS))]
    bars = np.array(bits, np.uint8).reshape(ROWS, BITS) * 255
    width, height = size
    grey = bars.repeat(height // ROWS, axis=0).repeat(width // BITS, axis=1)
    return np.stack([grey] * 3, axis=-1)


def seconds_of(image: np.ndarray) -> float:
    """The time that an image shows, or -1 if it shows none."""
    height, width = image.shape[0] // ROWS, image.shape[1] // BITS
    grey = image[: height * ROWS, : width * BITS].mean(axis=-1)
    bars = grey.reshape(ROWS, height, BITS, width)
    middle = bars[:, height // 4 : -height // 4, :, width // 4 : -width // 4].mean(axis=(1, 3))
    if ((middle > 60) & (middle < 195)).any():
        return -1.0
    return float(int("".join("1" if bar > 127 else "0" for bar in middle.flat), 2)) / 100


def constant(seconds: float, rate: float, start: float = 0.0) -> list[float]:
    """Times of frames at a constant rate."""
    return [start + i / rate for i in range(round(seconds * rate))]


def write_movie(
    path: Path,
    times: Sequence[float],
    audio: tuple[float, float] | None = None,
    codec: str = "libx264",
    turn: int = 0,
    size: tuple[int, int] = SIZE,
    keyframes: int = 250,
    shift: float = 0.0,
    reordered: int = 0,
    **options: str,
) -> Path:
    """Write a video whose frames are shown from `times` on, each showing its time.

    Args:
        path: its ending picks the container.
        times: seconds, ascending; none leaves a file without a video stream.
        audio: seconds from and to which there is a sound.
        codec: of the pictures.
        turn: degrees counterclockwise by which a player must turn the stored pictures so that
            they stand upright.
        size: upright width and height.
        keyframes: a picture of so many can be decoded by itself.
        shift: seconds that the time stamps lie after what the pictures show.
        reordered: pictures in a row that are decoded after the one that is shown behind them.
        options: of the container.
    """
    with av.open(str(path), "w", options=options) as container:
        sound = (
            container.add_stream("aac" if path.suffix != ".webm" else "libopus", rate=48000)
            if audio
            else None
        )
        packets = []
        if times:
            upright = size if turn % 180 == 0 else size[::-1]
            stream = container.add_stream(codec, rate=25)
            stream.width, stream.height = upright
            stream.pix_fmt = "yuv420p"
            ticks = 25 if codec == "mpeg2video" else TICKS  # its rates are few
            stream.codec_context.time_base = Fraction(1, ticks)
            stream.codec_context.max_b_frames = reordered
            stream.codec_context.gop_size = keyframes
            if codec == "libx264":
                stream.options = {"preset": "ultrafast", "crf": "18", "bf": str(reordered)}
            if turn:
                stream.set_display_rotation(turn)
            for seconds in times:
                stored = np.rot90(picture(seconds, size), -turn // 90)
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(stored), "rgb24")
                frame.pts, frame.time_base = round((seconds + shift) * ticks), Fraction(1, ticks)
                packets += stream.encode(frame)
            packets += stream.encode()
        if sound is not None and audio is not None:
            packets += _silence(sound, *audio)
        packets.sort(key=lambda p: float(p.dts * p.time_base))
        for packet in packets:
            container.mux(packet)
    return path


def _silence(stream: av.AudioStream, start: float, end: float) -> list[av.Packet]:
    stream.layout = "mono"
    packets = []
    for place in range(round(start * 48000), round(end * 48000), 960):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, place, Fraction(1, 48000)
        packets += stream.encode(frame)
    return packets + stream.encode()
