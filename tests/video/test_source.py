"""The choice of the stream of a file that is its film."""

import gc
import os
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import av
import numpy as np
import pytest
from av.stream import Disposition
from extraction.movies import SIZE, picture
from shared import DATA, needs_data
from video.odd_files import RATE, right_rows, rows_of

from dreamprvr.video.reader import VideoReader
from dreamprvr.video.source import VideoError

BLUE = np.full((SIZE[1], SIZE[0], 3), (0, 0, 255), np.uint8)


def streams(path: Path, kinds: list[str], default: int | None = None, sound: bool = False) -> Path:
    """A file of 4 s with several video streams.

    Args:
        path: of the file.
        kinds: "film" shows its time, "blue" is blue, "jpeg film" the same in Motion JPEG,
            "cover" is a single picture in it, and "noise" is a film that cannot be decoded.
        default: which one is marked as the default.
        sound: add silence.
    """
    with av.open(path, "w") as writer:
        added: list[Any] = []
        for place, kind in enumerate(kinds):
            jpeg = kind in ("cover", "jpeg film")
            stream: Any = writer.add_stream("mjpeg" if jpeg else "libx264", rate=RATE)
            stream.width, stream.height = SIZE
            stream.pix_fmt = "yuvj444p" if jpeg else "yuv420p"
            stream.codec_context.gop_size = RATE
            if path.suffix != ".ts":
                stream.disposition = Disposition.default.value if place == default else 0
            added.append(stream)
        audio: Any = writer.add_stream("aac", rate=48_000, layout="mono") if sound else None
        for i in range(4 * RATE):
            for kind, stream in zip(kinds, added, strict=True):
                if kind == "cover" and i:
                    continue
                pixels = picture(i / RATE) if "film" in kind else BLUE
                frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
                frame.pts, frame.time_base = i, Fraction(1, RATE)
                for packet in stream.encode(frame):
                    writer.mux(_noise(packet) if kind == "noise" else packet)
        for kind, stream in zip(kinds, added, strict=True):
            for packet in stream.encode(None):
                writer.mux(_noise(packet) if kind == "noise" else packet)
        if audio is not None:
            frame = av.AudioFrame.from_ndarray(
                np.zeros((1, 4 * 48_000), np.float32), "fltp", "mono"
            )
            frame.sample_rate = 48_000
            writer.mux(audio.encode(frame))
            writer.mux(audio.encode(None))
    return path


def _noise(packet: av.Packet) -> av.Packet:
    other = av.Packet(b"\0\0\0\1\x01" + np.random.default_rng(0).bytes(packet.size))
    other.stream, other.pts, other.dts = packet.stream, packet.pts, packet.dts
    other.time_base, other.duration, other.is_keyframe = packet.time_base, packet.duration, True
    return other


@pytest.mark.parametrize(
    ("name", "kinds", "default"),
    [
        ("a.mkv", ["cover", "film"], 1),
        ("a.mkv", ["cover", "film"], 0),  # a picture is no film, whatever it is marked as
        ("a.mkv", ["film", "cover"], 1),
        ("a.mkv", ["blue", "film"], 1),
        ("a.mkv", ["film", "blue"], 0),
        ("a.mkv", ["film", "blue"], None),
        ("a.mkv", ["noise", "film"], 0),
        ("a.ts", ["noise", "film"], None),
        ("a.mp4", ["film", "blue"], 0),
    ],
)
def test_the_film_is_chosen(
    tmp_path: Path, name: str, kinds: list[str], default: int | None
) -> None:
    rows, _ = rows_of(streams(tmp_path / name, kinds, default))
    assert rows == right_rows(4)


def test_sound_with_a_cover_is_no_video(tmp_path: Path) -> None:
    path = streams(tmp_path / "a.mkv", ["cover"], 0, sound=True)
    with pytest.raises(VideoError, match=r"^only sound, with a still picture$"):
        list(VideoReader(path))


def test_a_picture_alone_is_a_video_of_one(tmp_path: Path) -> None:
    assert len(list(VideoReader(streams(tmp_path / "a.mkv", ["cover"], 0)))) == 1


def test_nothing_that_can_be_decoded(tmp_path: Path) -> None:
    path = streams(tmp_path / "a.mkv", ["noise", "noise"], 0)
    with pytest.raises(VideoError, match="no picture could be decoded"):
        list(VideoReader(path))


def test_pictures_in_motion_jpeg_are_a_film(tmp_path: Path) -> None:
    path = streams(tmp_path / "a.mkv", ["jpeg film"], sound=True)
    assert rows_of(path)[0] == right_rows(4)


@needs_data
@pytest.mark.parametrize(
    "name", ["coverplain.mkv", "second_default.mkv", "firstscrambled.ts", "h264b.avi", "raw.h264"]
)
def test_files_from_outside(name: str) -> None:
    rows, reader = rows_of(DATA / "hard_inputs" / name)
    assert rows == right_rows(8)
    assert reader.warnings == []


class Converter:
    """An object in a cycle, as PyAV's converters of pictures are, that says who freed it."""

    freed_by: ClassVar[list[int]] = []

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        self.freed_by.append(os.getpid())


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_frees_no_object_of_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would wait for threads that it does not have."""
    monkeypatch.setattr(Converter, "freed_by", [])
    gc.disable()
    try:
        Converter()
        kept = [Converter()]
        child = os.fork()
        if child == 0:
            kept.clear()
            gc.collect()
            os._exit(len(Converter.freed_by) - 1)  # of the list that the parent had
        assert os.waitpid(child, 0)[1] == 0
    finally:
        gc.enable()
    assert Converter.freed_by == [os.getpid()]
    assert gc.get_freeze_count() == 0
    kept.clear()
