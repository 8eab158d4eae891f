"""Write small videos whose pictures show the second."""

from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame
from PIL import Image

RATE = 44_100
# far apart, and far from each other after any codec
COLOURS = [
    (220, 40, 40),
    (40, 200, 60),
    (50, 70, 220),
    (230, 220, 50),
    (220, 60, 210),
    (60, 210, 220),
]


def film(
    path: Path, seconds: float = 6.0, codec: str = "libx264", rate: int = 10, sound: bool = True,
    size: tuple[int, int] = (160, 90), late: float = 0.0, gop: int = 25,
    container: str | None = None,
) -> Path:  # fmt: skip
    """Write a film of which second i shows `COLOURS[i % 6]`, with a tone that gets higher.

    Args:
        late: seconds by which the time stamps start late.
        gop: frames from one keyframe to the next.
        container: format, if the ending does not say.
    """
    with av.open(path, "w", format=container) as writer:
        video: Any = writer.add_stream(codec, rate=rate)
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        video.codec_context.gop_size = gop
        audio: Any = None
        if sound:
            webm = path.suffix == ".webm"
            audio = writer.add_stream("libopus" if webm else "aac", rate=48_000 if webm else RATE)
            audio.layout = "mono"
        for i in range(round(seconds * rate)):
            frame = VideoFrame.from_ndarray(picture(i / rate, size), "rgb24")
            frame.pts = i + round(late * rate)
            frame.time_base = Fraction(1, rate)
            writer.mux(video.encode(frame))
        writer.mux(video.encode(None))
        if audio is not None:
            _add_tone(writer, audio, seconds, late)
    return path


def picture(second: float, size: tuple[int, int]) -> np.ndarray:
    image = np.empty((size[1], size[0], 3), np.uint8)
    image[:] = COLOURS[int(second) % len(COLOURS)]
    image[: size[1] // 3, : size[0] // 4] = 255  # top left: shows which way is up
    return image


def png(width: int = 400, height: int = 200) -> bytes:
    """A red picture, as the content of a file."""
    file = BytesIO()
    Image.new("RGB", (width, height), COLOURS[0]).save(file, "PNG")
    return file.getvalue()


def colour_index(pixel: Any) -> int:
    """Return the index of the colour in COLOURS that is nearest to a pixel."""
    return int(np.abs(np.asarray(COLOURS, float) - np.asarray(pixel, float)[:3]).sum(1).argmin())


def turned(path: Path, target: Path) -> Path:
    """Write a copy of an mp4 whose header turns it by 90 degrees clockwise."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # version 0: the matrix follows 40 bytes of other fields
    matrix = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    data[at : at + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in matrix)
    target.write_bytes(data)
    return target


def _add_tone(writer: Any, audio: Any, seconds: float, late: float) -> None:
    rate = audio.codec_context.sample_rate
    t = np.arange(round(seconds * rate)) / rate
    tone = (0.3 * np.sin(2 * np.pi * (300 + 40 * t) * t)).astype(np.float32)[None]
    for i in range(0, tone.shape[1], rate):
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(tone[:, i : i + rate]), "fltp", "mono")
        frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
        frame.pts = i + round(late * rate)
        writer.mux(audio.encode(frame))
    writer.mux(audio.encode(None))


class Content(NamedTuple):
    """Pictures and sound of a file."""

    times: list[float]
    colours: list[int]
    size: tuple[int, int]
    sound: np.ndarray  # (n,) mono
    codecs: tuple[str, ...]


def read(path: Path) -> Content:
    times, colours, sound, size = [], [], [], (0, 0)
    with av.open(path) as container:
        codecs = tuple(stream.codec_context.name for stream in container.streams)
        for frame in container.decode(container.streams.video[0]):
            image = frame.to_ndarray(format="rgb24")
            times.append(float(frame.time))
            colours.append(colour_index(image[-1, -1]))
            size = (frame.width, frame.height)
    with av.open(path) as container:
        for frame in container.decode(*container.streams.audio[:1]) if len(codecs) > 1 else ():
            sound.append(frame.to_ndarray().mean(0))
    return Content(times, colours, size, np.concatenate(sound) if sound else np.zeros(0), codecs)
