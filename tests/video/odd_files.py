"""Files with something odd: joined recordings, several streams, colours of all kinds."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.packet import Packet
from extraction.movies import constant, seconds_of, write_movie

from dreamprvr.extraction.windows import cut
from dreamprvr.video.reader import VideoReader

RATE = 25
UNSPECIFIED = 2  # matrix, as H.273 numbers them


def rows_of(path: Path) -> tuple[list[tuple[float, float, int]], VideoReader]:
    """Return the first and last second and the number of pictures in each window of a second."""
    reader = VideoReader(path)
    windows = cut(reader, 5.0, 1.0, 1.0, 0)
    rows = [(seconds_of(w.frames[0]), seconds_of(w.frames[-1]), len(w.frames)) for w in windows]
    return rows, reader


def right_rows(count: int) -> list[tuple[float, float, int]]:
    """Return the result of `rows_of` for a film of whole seconds at 25 pictures a second."""
    return [(i + 0.08, i + 0.88, 5) for i in range(count)]


def joined(path: Path, lengths: list[float], begins: list[float], **settings: Any) -> Path:
    """Put recordings behind each other, as `cat` does; the pictures count on through all.

    Args:
        path: of the file; its ending picks the container.
        lengths: seconds of each recording.
        begins: second at which the clock of each one begins.
        settings: see `write_movie`.
    """
    data, second = b"", 0.0
    for length, begin in zip(lengths, begins, strict=True):
        part = path.with_name(f"part{path.suffix}")
        times = constant(length, RATE, second)
        write_movie(part, times, shift=begin - second, keyframes=RATE, **settings)
        data += part.read_bytes()
        second += length
    path.write_bytes(data)
    return path


def with_packets(source: Path, target: Path, change: Callable[[int, Packet], None]) -> Path:
    """A copy of the pictures of a file, each packet changed by `change(number, packet)`."""
    with av.open(source) as reader, av.open(target, "w") as writer:
        stream = reader.streams.video[0]
        copy = writer.add_stream_from_template(stream)
        for number, packet in enumerate(p for p in reader.demux(stream) if p.size):
            change(number, packet)
            packet.stream = copy
            writer.mux(packet)
    return target


def painted(
    path: Path, pixels: np.ndarray, codec: str = "ffv1", pix_fmt: str = "yuv420p", count: int = 5,
    matrix: int | None = None, options: dict[str, str] | None = None, **tags: Any,
) -> Path:  # fmt: skip
    """A file of one picture, shown `count` times.

    Args:
        path: its ending picks the container.
        pixels: (H, W, 3 or 4) uint8 RGB or RGBA, or a frame that is already of `pix_fmt`.
        codec: of the pictures.
        pix_fmt: the same.
        count: of the pictures.
        matrix: by which RGB becomes YCbCr: 1 is BT.709, 6 is BT.601, 9 is BT.2020.
        options: of the encoder.
        tags: attributes of the encoder, as `colorspace`.
    """
    with av.open(path, "w") as writer:
        stream: Any = writer.add_stream(codec, rate=RATE)
        stream.height, stream.width = pixels.shape[:2]
        stream.pix_fmt, stream.options = pix_fmt, options or {}
        for name, value in tags.items():
            setattr(stream.codec_context, name, value)
        for i in range(count):
            kind = {3: "rgb24", 4: "rgba"}[pixels.shape[2]]
            if pixels.dtype == np.uint16:
                kind = "rgb48le"
            frame = av.VideoFrame.from_ndarray(pixels, kind)
            if matrix is not None:
                frame.colorspace = matrix
            frame = frame.reformat(format=pix_fmt)
            frame.pts, frame.time_base = i, Fraction(1, RATE)
            frame.colorspace = UNSPECIFIED
            for name in ("color_primaries", "color_trc", "colorspace", "color_range"):
                if name in tags:
                    setattr(frame, name, tags[name])
            writer.mux(stream.encode(frame))
        writer.mux(stream.encode(None))
    return path


def first_pixels(path: Path) -> np.ndarray:
    """Return the pixels (H, W, 3) uint8 of the first picture of a file."""
    return next(VideoReader(path).read()).pixels()
