"""Reading from a second on gives the pictures that reading it all gives for these seconds."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from av.video.frame import VideoFrame
from extraction.movies import constant, seconds_of, write_movie
from shared import DATA, needs_data
from video.odd_files import joined

from dreamprvr.video import reader
from dreamprvr.video.reader import Shown, VideoReader

SECONDS = np.arange(0.03, 7.9, 0.71)
MADE = {
    "a.mp4": {"keyframes": 50, "reordered": 2}, "a.mkv": {"keyframes": 50, "reordered": 2},
    "a.ts": {"keyframes": 50, "reordered": 2}, "a.flv": {"keyframes": 50, "reordered": 2},
    "a.mpg": {"keyframes": 50, "reordered": 2, "codec": "mpeg2video"},
    "a.avi": {"keyframes": 50, "codec": "mpeg4", "reordered": 2},
    "b.avi": {"keyframes": 50, "reordered": 2}, "a.webm": {"keyframes": 50, "codec": "libvpx"},
    "a.h264": {"keyframes": 50, "reordered": 2}, "a.wmv": {"keyframes": 50, "codec": "wmv2"},
    "a.m2v": {"keyframes": 25, "codec": "mpeg2video"},
    "b.m2v": {"keyframes": 25, "reordered": 2, "codec": "mpeg2video"},
    "a.m4v": {"keyframes": 25, "codec": "mpeg4"}, "a.ivf": {"keyframes": 25, "codec": "libvpx"},
    "a.ogg": {"keyframes": 25, "codec": "libvpx"}, "a.nut": {"keyframes": 25, "reordered": 2},
    "late.mp4": {"keyframes": 50, "shift": 3.0}, "late.ts": {"keyframes": 50, "shift": 3.0},
}  # fmt: skip


def key(shown: Shown) -> tuple[float, float]:
    return round(shown.begin, 3), seconds_of(shown.pixels())


def assert_seeks(path: Path) -> None:
    whole = list(VideoReader(path))
    for second in sorted({*SECONDS, *(whole[0].begin + SECONDS)}):
        first = next(VideoReader(path).read(second))
        seen = [shown for shown in whole if shown.end > second + 1e-4] or whole[-1:]
        assert key(first) == key(seen[0])
    found = list(VideoReader(path).read(whole[0].begin + 5.33))
    seen = [shown for shown in whole if shown.end > whole[0].begin + 5.33]
    assert [key(shown) for shown in found] == [key(shown) for shown in seen]


@pytest.mark.parametrize("name", MADE)
def test_any_second(tmp_path: Path, name: str) -> None:
    assert_seeks(write_movie(tmp_path / name, constant(8, 25), **MADE[name]))  # type: ignore[arg-type]


def test_any_second_of_dv(tmp_path: Path) -> None:
    """DV has no stamps of its own: behind a byte that is sought, libav does not count the time."""
    path = tmp_path / "a.dv"
    write_movie(path, constant(3, 25), codec="dvvideo", size=(720, 576))
    whole = [key(shown) for shown in VideoReader(path)]
    for place in (0, 24, 26, 50, 51, 74):
        assert key(next(VideoReader(path).read(place / 25))) == whole[place]


@pytest.mark.parametrize("ending", ["ts", "mpg", "mkv"])
def test_any_second_of_joined_recordings(tmp_path: Path, ending: str) -> None:
    codec = "mpeg2video" if ending == "mpg" else "libx264"
    assert_seeks(joined(tmp_path / f"a.{ending}", [3.2, 4.8], [0, 1], codec=codec))
    if ending == "ts":
        assert_seeks(joined(tmp_path / "b.ts", [2, 2, 2, 2], [0, 0, 9000, 1], reordered=2))


@pytest.mark.parametrize("pause", [0.04, 0.9, 1.1, 2.5])
def test_any_second_of_pictures_that_stay(tmp_path: Path, pause: float) -> None:
    """The wanted picture, or the one before, may be of those that are left out on the way to it."""
    times = [0.0]
    for number in range(60):
        times.append(times[-1] + (pause if number % 7 in (2, 3) else 0.04))
    path = write_movie(tmp_path / "a.mkv", times, keyframes=50, reordered=2)
    whole = list(VideoReader(path))
    for shown in whole[::2]:
        second = shown.begin + 0.6 * (shown.end - shown.begin)
        assert key(next(VideoReader(path).read(second))) == key(shown)


def test_pictures_that_no_other_one_needs_are_left_out_on_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_movie(tmp_path / "a.mp4", constant(8, 25), keyframes=200, reordered=2)
    decoded: list[float] = []
    frames = reader._Reading._frames

    def counted(self: reader._Reading) -> Iterator[VideoFrame]:
        for frame in frames(self):
            decoded.append(float(frame.time))
            yield frame

    monkeypatch.setattr(reader._Reading, "_frames", counted)
    next(VideoReader(path).read(6.0))
    assert len([second for second in decoded if second < 5.0]) < 100
    near = [second for second in decoded if 5.0 <= second < 6.0]
    assert near == pytest.approx(constant(1, 25, 5.0))


@needs_data
@pytest.mark.parametrize(
    "name", ["concatenated.ts", "jump5000.ts", "h264b.avi", "raw.h264", "firstscrambled.ts",
             "second_default.mkv", "interlaced.mp4"],
)  # fmt: skip
def test_any_second_of_files_from_outside(name: str) -> None:
    assert_seeks(DATA / "hard_inputs" / name)


def test_after_the_end_it_is_the_last_picture(tmp_path: Path) -> None:
    for ending in ("mp4", "ts"):
        path = write_movie(tmp_path / f"a.{ending}", constant(2, 25))
        assert seconds_of(next(VideoReader(path).read(50.0)).pixels()) == 1.96
