from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from serve.films import film, turned

from dreamprvr.errors import UserError
from dreamprvr.search.results import LibraryVideo
from dreamprvr.serve.containers import Probe, open_video, probe, shape_of, source_file
from dreamprvr.serve.replies import Refusal


def video(path: Path | None) -> LibraryVideo:
    return LibraryVideo("v", path, 6.0, {})


@pytest.mark.parametrize(
    ("name", "settings", "mime", "copies"),
    [
        ("a.mp4", {}, "video/mp4", False),
        ("a.mov", {"sound": False}, "video/mp4", False),
        ("a.webm", {"codec": "libvpx"}, "video/webm", False),
        ("a.mkv", {}, None, True),
        ("b.mkv", {"codec": "mpeg4"}, None, False),
        ("a.avi", {"codec": "mpeg4", "sound": False}, None, False),
        ("b.mp4", {"codec": "libx265", "sound": False}, None, False),
        ("c.mp4", {"codec": "mpeg4"}, None, False),
        # the last three seconds of these could not be reached
        ("late.mp4", {"late": 3.0}, None, False),
        ("late.mkv", {"late": 3.0}, None, False),
        ("late.webm", {"codec": "libvpx", "late": 3.0}, None, False),
    ],
)
def test_what_browsers_play(
    tmp_path: Path, name: str, settings: dict[str, object], mime: str | None, copies: bool
) -> None:
    path = film(tmp_path / name, 1.0, **settings)  # type: ignore[arg-type]
    found = probe(source_file(video(path)))
    assert (found.mime, found.copies) == (mime, copies)
    assert isinstance(found, Probe)
    assert found.seconds >= 0.85


@pytest.mark.parametrize(
    "text", [b"", b"just words", b"#EXTM3U\n#EXTINF:5,\nreal.mp4\n",
             b"ffconcat version 1.0\nfile real.mp4\n",
             b"\x89PNG\r\n\x1a\n"],
)  # fmt: skip
def test_what_is_no_video(tmp_path: Path, text: bytes) -> None:
    """Playlists and scripts among them: they would open the other file."""
    film(tmp_path / "real.mp4", 1.0)
    path = tmp_path / "fake.mp4"
    path.write_bytes(text)
    with pytest.raises(
        Refusal, match=r"^fake\.mp4: (an empty file|not a video that can be read)"
    ) as caught:
        probe(source_file(video(path)))
    assert caught.value.status == 415


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "tone.mp4"
    with av.open(path, "w") as writer:
        stream = writer.add_stream("aac", rate=44_100, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44_100), np.float32), "fltp", "mono")
        frame.sample_rate = 44_100
        writer.mux(stream.encode(frame))
        writer.mux(stream.encode(None))
    with pytest.raises(UserError, match=r"tone\.mp4: only sound"), open_video(path):
        pass


def test_files_that_are_not_there(tmp_path: Path) -> None:
    for path in (None, tmp_path / "no.mp4", tmp_path, Path("a\0b")):
        with pytest.raises(Refusal, match="is not where it was") as caught:
            source_file(video(path))
        assert caught.value.status == 404
        assert str(tmp_path) not in caught.value.line


def test_frames_stand_upright(tmp_path: Path) -> None:
    path = turned(film(tmp_path / "a.mp4", 1.0), tmp_path / "turned.mp4")
    with open_video(path) as (container, _):
        frame = next(container.decode(video=0))
        shape = shape_of(frame, None, 100)
        image = shape.upright(frame).to_ndarray(format="rgb24")
    assert (shape.width, shape.height) == (56, 100)
    assert image.shape == (100, 56, 3)
    white = image.min(2) > 200
    assert white[:20, -15:].mean() > 0.9  # was top left, before the quarter turn
    assert not white[:20, :15].any()


def test_pixels_that_are_not_square(tmp_path: Path) -> None:
    with open_video(film(tmp_path / "a.mp4", 1.0, size=(96, 96))) as (container, _):
        frame = next(container.decode(video=0))
    assert shape_of(frame, Fraction(4, 3), 1000).width == 128
    assert shape_of(frame, Fraction(0), 1000).width == 96
    small = shape_of(frame, Fraction(1000), 50)
    assert (small.width, small.height) == (50, 2)
