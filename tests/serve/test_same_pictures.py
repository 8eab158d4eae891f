"""Stills, clips and pieces show the pictures that the features were made of."""

from pathlib import Path

import numpy as np
import pytest
from extraction.movies import SIZE, constant, seconds_of, write_movie
from PIL import Image
from serve.films import film, read
from shared import DATA, needs_data
from video.odd_files import joined, painted
from video.test_picture import HLG, PQ, hdr, interlaced
from video.test_source import streams

from dreamprvr.search.results import LibraryVideo
from dreamprvr.serve.cache import CacheFolder
from dreamprvr.serve.containers import probe, source_file
from dreamprvr.serve.media import Media
from dreamprvr.serve.pieces import SECONDS
from dreamprvr.serve.transcode import transcode
from dreamprvr.video.reader import Shown, VideoReader


def at(path: Path, second: float) -> Shown:
    """Return the picture on the screen at a second, by reading the whole file."""
    shown = [item for item in VideoReader(path) if item.begin <= second + 1e-4]
    return shown[-1]


def assert_alike(found: np.ndarray, wanted: np.ndarray) -> None:
    """Check the mean colour of each quarter, and the time that the picture shows, if any."""
    assert found.shape == wanted.shape
    assert seconds_of(found) == seconds_of(wanted)
    middle_y, middle_x = wanted.shape[0] // 2, wanted.shape[1] // 2
    for rows in (slice(middle_y), slice(middle_y, None)):
        for columns in (slice(middle_x), slice(middle_x, None)):
            means = [image[rows, columns].mean((0, 1)) for image in (found, wanted)]
            np.testing.assert_allclose(*means, atol=6)


def assert_same(path: Path, folder: Path, seconds: tuple[float, ...]) -> None:
    video = LibraryVideo("v", path, at(path, 1e9).end, {})
    media = Media(CacheFolder(folder / "cache", 10**7))
    for second in seconds:
        wanted = at(path, second)
        width, height = (2 * round(side / 2) for side in wanted.size)
        scale = min(1.0, 480 / max(width, height))
        pixels = wanted.scaled(round(width * scale), round(height * scale))
        with Image.open(media.still(source_file(video), second, lambda: None)) as image:
            assert_alike(np.asarray(image), pixels)
        transcode(path, folder / "clip.mp4", second, second + 0.3, 480, lambda: None)
        assert_alike(at(folder / "clip.mp4", 0.0).pixels(), pixels)
        piece = at(media.piece(source_file(video), int(second // SECONDS), lambda: None), second)
        height, width = pixels.shape[:2]
        assert_alike(piece.scaled(width, height), pixels)


EXTERNAL = {
    "concatenated.ts": (0.3, 3.9, 4.1, 7.5), "jump5000.ts": (0.3, 3.9, 4.1, 7.5),
    "hflip.mp4": (1.1, 6.3), "vflip.mp4": (1.1, 6.3), "h264b.avi": (0.3, 3.1, 7.7),
    "hdr_white.mp4": (1.0,), "hdr_red.mp4": (1.0,), "alpha_hidden.mov": (0.5,),
    "col_untagged_hd709.mp4": (1.0,), "coverplain.mkv": (1.1, 6.3), "interlaced.mp4": (1.1, 6.3),
    "second_default.mkv": (1.1, 6.3), "firstscrambled.ts": (1.1, 6.3), "raw.h264": (1.1, 6.3),
}  # fmt: skip


@needs_data
@pytest.mark.parametrize("name", EXTERNAL)
def test_files_from_outside(tmp_path: Path, name: str) -> None:
    assert_same(DATA / "hard_inputs" / name, tmp_path, EXTERNAL[name])


def test_joined_recordings(tmp_path: Path) -> None:
    path = joined(tmp_path / "a.ts", [2, 2, 2], [0, 9000, 1], reordered=2)
    assert_same(path, tmp_path, (0.3, 2.1, 3.9, 4.3, 5.9))
    path = joined(tmp_path / "a.vob", [2, 2], [0, 0], codec="mpeg2video")
    assert_same(path, tmp_path, (0.3, 1.9, 2.1, 3.5))


def test_elementary_streams(tmp_path: Path) -> None:
    path = write_movie(tmp_path / "a.h264", constant(4, 25), keyframes=25, reordered=2)
    assert_same(path, tmp_path, (0.0, 1.3, 3.9))


def test_streams(tmp_path: Path) -> None:
    assert_same(streams(tmp_path / "a.mkv", ["cover", "film"], 0), tmp_path, (1.1, 3.3))
    assert_same(streams(tmp_path / "b.mkv", ["blue", "film"], 1), tmp_path, (1.1, 3.3))


def test_colours(tmp_path: Path) -> None:
    red = np.full((48, 64, 3), (192, 48, 32), np.uint8)
    red[:24, :32] = (40, 90, 200)
    assert_same(painted(tmp_path / "a.mkv", red), tmp_path, (0.1,))
    large = red.repeat(20, axis=0).repeat(20, axis=1)
    assert_same(painted(tmp_path / "b.mkv", large, matrix=1), tmp_path, (0.1,))
    assert_same(hdr(tmp_path / "c.mkv", (192, 48, 32), PQ), tmp_path, (0.1,))
    assert_same(hdr(tmp_path / "d.mkv", (192, 48, 32), HLG), tmp_path, (0.1,))
    hidden = np.dstack([red, np.full(red.shape[:2], 60, np.uint8)])
    assert_same(painted(tmp_path / "e.mov", hidden, "qtrle", "argb"), tmp_path, (0.1,))


def test_interlaced_pictures_are_not_played_as_they_are(tmp_path: Path) -> None:
    path = interlaced(tmp_path / "a.mp4")
    assert_same(path, tmp_path, (1.0, 6.0))
    found = probe(source_file(LibraryVideo("v", path, 8.0, {})))
    assert found.mime is None
    plain = write_movie(tmp_path / "b.mp4", constant(1, 25), size=SIZE)
    assert probe(source_file(LibraryVideo("v", plain, 1.0, {}))).mime.startswith("video/mp4")


def test_the_default_stream_is_not_the_first(tmp_path: Path) -> None:
    """A browser might choose another one."""
    path = streams(tmp_path / "a.mp4", ["film", "blue"], 0)
    assert probe(source_file(LibraryVideo("v", path, 4.0, {}))).mime is None


def test_the_sound_of_joined_recordings_follows_the_pictures(tmp_path: Path) -> None:
    part = film(tmp_path / "part.ts", 4.0, rate=25, gop=25).read_bytes()
    (tmp_path / "a.ts").write_bytes(part * 3)
    for begin in (4.0, 8.0):
        start = begin + 1.0
        transcode(tmp_path / "a.ts", tmp_path / "b.mp4", start, start + 2.0, 480, lambda: None)
        content = read(tmp_path / "b.mp4")
        assert content.colours[12] == 1
        assert content.colours[37] == 2
        for second in (0.5, 1.5):  # the tone of part second s is of 300 + 80 s hertz
            sound = content.sound[round((second - 0.25) * 48_000) : round((second + 0.25) * 48_000)]
            spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
            pitch = spectrum.argmax() * 48_000 / len(sound)
            assert pitch == pytest.approx(300 + 80 * (1.0 + second), abs=12)
