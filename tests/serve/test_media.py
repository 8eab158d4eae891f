import threading
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from serve.films import colour_index, film, turned

from dreamprvr.search.results import LibraryVideo
from dreamprvr.serve import media as media_module
from dreamprvr.serve.cache import CacheFolder
from dreamprvr.serve.containers import NotPlayable, SourceFile, source_file
from dreamprvr.serve.media import Media
from dreamprvr.serve.workers import Stopped


@pytest.fixture
def media(tmp_path: Path) -> Iterator[Media]:
    media = Media(CacheFolder(tmp_path / "cache", 10**8))
    yield media
    media.passes.close_idle(0.0)


def source(path: Path) -> SourceFile:
    return source_file(LibraryVideo("v", path, 0.0, {}))


def quiet() -> None:
    pass


def stop() -> None:
    raise Stopped


def shown(path: Path) -> int:
    with Image.open(path) as image:
        assert image.format == "JPEG"
        return colour_index(image.getpixel((image.width - 5, image.height - 5)))


@pytest.mark.parametrize("settings", [{"gop": 100}, {"gop": 10}])
def test_a_still_shows_the_picture_on_the_screen(
    media: Media, tmp_path: Path, settings: dict[str, float]
) -> None:
    path = film(tmp_path / "a.mkv", 6.0, **settings)  # type: ignore[arg-type]
    for second in (0.0, 1.8, 3.0, 4.7, 5.9):
        assert shown(media.still(source(path), second, quiet)) == int(second)


@pytest.mark.parametrize(("ending", "begins"), [("mkv", 7.0), ("mp4", 7.0), ("ts", 0.0)])
def test_a_late_start(media: Media, tmp_path: Path, ending: str, begins: float) -> None:
    """Seconds are those of the features: browsers play mkv and mp4 by their stamps."""
    path = film(tmp_path / f"a.{ending}", 4.0, gop=100, late=7.0)
    for second in (0.0, 1.8, 3.6):
        assert shown(media.still(source(path), begins + second, quiet)) == int(second)
    assert shown(media.still(source(path), begins / 2, quiet)) == 0  # before the first picture


@pytest.mark.parametrize(
    ("ending", "codec"),
    [("ts", "libx264"), ("mpg", "mpeg2video"), ("flv", "libx264"), ("avi", "mpeg4")],
)
def test_formats_without_an_index(media: Media, tmp_path: Path, ending: str, codec: str) -> None:
    """A seek alone ends up to a keyframe too late in them, or finds nothing."""
    path = film(tmp_path / f"a.{ending}", 12.0, codec, rate=25, gop=100, sound=False)
    for second in (0.0, 0.6, 3.9, 6.6, 8.7, 11.8):
        assert shown(media.still(source(path), second, quiet)) == int(second) % 6


def test_a_still_after_the_end_is_the_last_picture(media: Media, tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", 3.0)
    assert shown(media.still(source(path), 100.0, quiet)) == 2


def test_a_still_is_made_once_for_each_version_of_the_file(media: Media, tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", 2.0)
    first = media.still(source(path), 1.0, quiet)
    written = first.stat().st_ino
    assert media.still(source(path), 1.04, quiet).stat().st_ino == written
    film(path, 3.0)
    assert media.still(source(path), 1.0, quiet) != first


def test_size_and_rotation_of_a_still(media: Media, tmp_path: Path) -> None:
    path = turned(film(tmp_path / "a.mp4", 1.0, size=(1280, 720)), tmp_path / "t.mp4")
    with Image.open(media.still(source(path), 0.5, quiet)) as image:
        assert image.size == (270, 480)


def test_a_file_that_is_no_video_is_refused(media: Media, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("words")
    for make in (media.still, media.piece, lambda file, *_: media.clip(file, 3.0, 4.5, quiet)):
        with pytest.raises(NotPlayable, match="not a video that can be read"):
            make(source(tmp_path / "a.mp4"), 0, quiet)
    assert list(media.cache.folder.iterdir()) == []


def test_files_made_before_a_correction_are_made_anew(
    media: Media, films: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = source(films / "red.mp4")
    first = media.still(file, 1.0, quiet)
    monkeypatch.setattr(media_module, "VERSION", media_module.VERSION + 1)
    assert media.still(file, 1.0, quiet) != first


def test_a_sheet_has_a_row_for_each_video(media: Media, films: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    tall = film(tmp_path / "tall.mp4", 4.0, size=(90, 160))
    files = [
        SourceFile(path, 1, 2, seconds) for path, seconds in
        [(films / "red.mp4", 12.0), (tmp_path / "broken.mp4", 6.0), (tall, 4.0)]
    ]  # fmt: skip
    path = media.sheet([*files, None, files[0]], quiet)
    with Image.open(path) as image:
        assert (image.format, image.size) == ("AVIF", (240, 5 * 135))
        colours = [image.getpixel((x, 135 * row + 100)) for row in range(5) for x in (5, 234)]
    assert [pixel[3] for pixel in colours] == [255, 255, 0, 0, 255, 255, 0, 0, 255, 255]
    shown = [colour_index(pixel) for pixel in colours]
    assert [*shown[:2], *shown[4:6], *shown[8:]] == [4, 4, 1, 1, 4, 4]
    assert media.sheet_path(files) != media.sheet_path(files[::-1]) != path
    changed = SourceFile(files[0].path, 1, 3, 12.0)
    assert media.sheet_path([changed]) != media.sheet_path(files[:1])


def test_a_sheet_and_its_stills_may_share_a_lock(media: Media, films: Path) -> None:
    media.cache._locks = [media.cache._locks[0]] * len(media.cache._locks)
    making = threading.Thread(
        target=media.sheet, args=([source(films / "red.mp4")], quiet), daemon=True
    )
    making.start()
    making.join(20)
    assert not making.is_alive()


def test_the_quality_of_a_sheet_is_lowered_until_it_is_small(
    media: Media, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "fine.png"
    Image.fromarray(rng.integers(0, 256, (135, 240, 3), np.uint8)).save(path)
    monkeypatch.setattr(Media, "still", lambda *arguments: path)
    sizes = []
    for limit in (10**6, 12_000):
        monkeypatch.setattr(media_module, "_SHEET_BYTES", limit)
        sizes.append(media.sheet([SourceFile(path, limit, 0)], quiet).stat().st_size)
    assert sizes[0] > 12_000 >= sizes[1]


def length(path: Path | None) -> float:
    assert path is not None
    with av.open(path) as container:
        return float((container.duration or 0) / av.time_base)


def test_a_clip(media: Media, films: Path) -> None:
    file = source(films / "red.mp4")
    path = media.clip(file, 3.0, 4.5, quiet)
    with av.open(path) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]
    assert length(path) == pytest.approx(1.5, abs=0.1)
    assert media.clip(file, 3.0, 4.5, quiet) == path
    assert media.clip(file, 3.0, 4.6, quiet) != path


def test_what_nobody_waits_for_is_given_up(media: Media, films: Path) -> None:
    file = source(films / "red.mp4")
    for make in (
        lambda: media.clip(file, 0.0, 1.0, stop), lambda: media.piece(file, 0, stop),
        lambda: media.still(file, 0.0, stop), lambda: media.sheet([file], stop),
    ):  # fmt: skip
        with pytest.raises(Stopped):
            make()
    assert list(media.cache.folder.iterdir()) == []


def test_a_piece_is_made_once(media: Media, films: Path) -> None:
    file = source(films / "old.avi")
    path = media.piece(file, 1, quiet)
    written = path.stat().st_ino
    assert path == media.piece_path(file, 1)
    assert media.piece(file, 1, quiet).stat().st_ino == written
    assert media.piece(file, 2, quiet) != path
    with pytest.raises(NotPlayable, match=r"old\.avi ends before second 8\.0"):
        media.piece(file, 8, quiet)
    assert len(list(media.cache.folder.iterdir())) == 2
