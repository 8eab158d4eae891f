"""Make up films of any length, for benchmarks of reading and playing videos."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

SAMPLES = 48_000  # samples of sound in a second
PART = 10  # seconds between keyframes, and of the part that is encoded; a film repeats it
OPTIONS = {"libx265": {"preset": "superfast", "x265-params": "open-gop=0:log-level=none"}}


def write_film(film: Path, codec: str, size: tuple[int, int], rate: int, parts: int) -> None:
    """Write a film that shows the same ten seconds again and again, with a keyframe at each start.

    Args:
        film: path of the film, an mp4; its folder also gets a file `part.mp4`.
        codec: name of the encoder.
        size: width and height of the pictures.
        rate: pictures in a second.
        parts: number of times that the ten seconds are shown.
    """
    part = film.with_name("part.mp4")
    _write_part(part, codec, size, rate)
    with av.open(film, "w", container_options={"movflags": "faststart"}) as writer:
        copies: dict[int, Any] = {}
        for number in range(parts):
            with av.open(part) as reader:
                for stream in reader.streams if not copies else ():
                    copies[stream.index] = writer.add_stream_from_template(stream)
                for packet in reader.demux():
                    unit, pts, dts = packet.time_base, packet.pts, packet.dts
                    if pts is None or dts is None:
                        continue
                    # packets before and after the part are silence that fills a block
                    if packet.stream.type == "audio" and not 0 <= pts * unit < PART - 0.03:
                        continue
                    late = round(PART * number / unit)
                    packet.pts, packet.dts = pts + late, dts + late
                    packet.stream = copies[packet.stream.index]
                    writer.mux(packet)


def _write_part(path: Path, codec: str, size: tuple[int, int], rate: int) -> None:
    """Encode a landscape of blocks that moves, with noise, and a tone."""
    width, height = size
    noise = np.random.default_rng(0)
    blocks = noise.integers(0, 256, (70, 130, 3), np.uint8).repeat(20, axis=0).repeat(20, axis=1)
    with av.open(path, "w") as writer:
        video: Any = writer.add_stream(codec, rate=rate)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.codec_context.gop_size = PART * rate
        video.options = OPTIONS.get(codec, {})
        audio: Any = writer.add_stream("aac", rate=SAMPLES, layout="stereo")
        grain = noise.integers(0, 12, (height, width, 1), np.uint8)
        for number in range(PART * rate):
            y, x = number, 2 * number
            seen = blocks[y : y + height, x : x + width] // 2 + np.roll(grain, number * 7)
            frame = VideoFrame.from_ndarray(np.ascontiguousarray(seen), "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            writer.mux(video.encode(frame))
        writer.mux(video.encode(None))
        tone = np.sin(np.arange(PART * SAMPLES) / 20).astype(np.float32) / 4
        for at in range(0, len(tone), SAMPLES):
            sound = AudioFrame.from_ndarray(np.stack([tone[at : at + SAMPLES]] * 2), "fltp")
            sound.sample_rate, sound.pts, sound.time_base = SAMPLES, at, Fraction(1, SAMPLES)
            writer.mux(audio.encode(sound))
        writer.mux(audio.encode(None))
