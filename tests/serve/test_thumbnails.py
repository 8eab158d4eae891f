from pathlib import Path

import pytest
from PIL import Image
from serve.films import colour_index, film, turned

from dreamprvr.search.results import LibraryVideo
from dreamprvr.serve.cache import CacheFolder
from dreamprvr.serve.containers import SourceFile, source_file
from dreamprvr.serve.replies import Refusal
from dreamprvr.serve.thumbnails import thumbnail


@pytest.fixture
def cache(tmp_path: Path) -> CacheFolder:
    return CacheFolder(tmp_path / "cache", 10**6)


def source(path: Path) -> SourceFile:
    return source_file(LibraryVideo("v", path, 0.0, {}))


def shown(path: Path) -> int:
    with Image.open(path) as image:
        assert image.format == "JPEG"
        return colour_index(image.getpixel((image.width - 5, image.height - 5)))


@pytest.mark.parametrize("settings", [{"gop": 100}, {"gop": 10}])
def test_what_is_on_the_screen(
    cache: CacheFolder, tmp_path: Path, settings: dict[str, float]
) -> None:
    path = film(tmp_path / "a.mkv", 6.0, **settings)  # type: ignore[arg-type]
    for second in (0.0, 1.8, 3.0, 4.7, 5.9):
        assert shown(thumbnail(cache, source(path), second)) == int(second)


@pytest.mark.parametrize(("ending", "begins"), [("mkv", 7.0), ("mp4", 7.0), ("ts", 0.0)])
def test_a_late_start(cache: CacheFolder, tmp_path: Path, ending: str, begins: float) -> None:
    """Seconds are those of the features: browsers play mkv and mp4 by their stamps."""
    path = film(tmp_path / f"a.{ending}", 4.0, gop=100, late=7.0)
    for second in (0.0, 1.8, 3.6):
        assert shown(thumbnail(cache, source(path), begins + second)) == int(second)
    assert shown(thumbnail(cache, source(path), begins / 2)) == 0  # before the first picture


@pytest.mark.parametrize(
    ("ending", "codec"),
    [("ts", "libx264"), ("mpg", "mpeg2video"), ("flv", "libx264"), ("avi", "mpeg4")],
)
def test_formats_without_an_index(
    cache: CacheFolder, tmp_path: Path, ending: str, codec: str
) -> None:
    """A seek alone ends up to a keyframe too late in them, or finds nothing."""
    path = film(tmp_path / f"a.{ending}", 12.0, codec, rate=25, gop=100, sound=False)
    for second in (0.0, 0.6, 3.9, 6.6, 8.7, 11.8):
        assert shown(thumbnail(cache, source(path), second)) == int(second) % 6


def test_after_the_end_it_is_the_last(cache: CacheFolder, tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", 3.0)
    assert shown(thumbnail(cache, source(path), 100.0)) == 2


def test_it_is_made_once_a_version_of_the_file(cache: CacheFolder, tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", 2.0)
    first = thumbnail(cache, source(path), 1.0)
    written = first.stat().st_ino
    assert thumbnail(cache, source(path), 1.04).stat().st_ino == written
    film(path, 3.0)
    assert thumbnail(cache, source(path), 1.0) != first


def test_size_and_rotation(cache: CacheFolder, tmp_path: Path) -> None:
    path = turned(film(tmp_path / "a.mp4", 1.0, size=(1280, 720)), tmp_path / "t.mp4")
    with Image.open(thumbnail(cache, source(path), 0.5)) as image:
        assert image.size == (270, 480)


def test_no_video(cache: CacheFolder, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("words")
    with pytest.raises(Refusal, match="not a video that can be read") as caught:
        thumbnail(cache, source(tmp_path / "a.mp4"), 0.0)
    assert caught.value.status == 415
    assert list(cache.folder.iterdir()) == []
