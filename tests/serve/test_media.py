import threading
from collections.abc import Iterator
from pathlib import Path

import av
import pytest
from PIL import Image
from serve.films import colour_index, film, turned

from dreamprvr.search.results import LibraryVideo
from dreamprvr.serve import media as media_module
from dreamprvr.serve.cache import CacheFolder
from dreamprvr.serve.containers import NotPlayable, SourceFile, source_file
from dreamprvr.serve.media import Media
from dreamprvr.serve.schema import PreviewState
from dreamprvr.serve.workers import Stopped


@pytest.fixture
def media(tmp_path: Path) -> Iterator[Media]:
    media = Media(CacheFolder(tmp_path / "cache", 10**8))
    yield media
    media.close()


def source(path: Path) -> SourceFile:
    return source_file(LibraryVideo("v", path, 0.0, {}))


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
        assert shown(media.still(source(path), second)) == int(second)


@pytest.mark.parametrize(("ending", "begins"), [("mkv", 7.0), ("mp4", 7.0), ("ts", 0.0)])
def test_a_late_start(media: Media, tmp_path: Path, ending: str, begins: float) -> None:
    """Seconds are those of the features: browsers play mkv and mp4 by their stamps."""
    path = film(tmp_path / f"a.{ending}", 4.0, gop=100, late=7.0)
    for second in (0.0, 1.8, 3.6):
        assert shown(media.still(source(path), begins + second)) == int(second)
    assert shown(media.still(source(path), begins / 2)) == 0  # before the first picture


@pytest.mark.parametrize(
    ("ending", "codec"),
    [("ts", "libx264"), ("mpg", "mpeg2video"), ("flv", "libx264"), ("avi", "mpeg4")],
)
def test_formats_without_an_index(media: Media, tmp_path: Path, ending: str, codec: str) -> None:
    """A seek alone ends up to a keyframe too late in them, or finds nothing."""
    path = film(tmp_path / f"a.{ending}", 12.0, codec, rate=25, gop=100, sound=False)
    for second in (0.0, 0.6, 3.9, 6.6, 8.7, 11.8):
        assert shown(media.still(source(path), second)) == int(second) % 6


def test_a_still_after_the_end_is_the_last_picture(media: Media, tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", 3.0)
    assert shown(media.still(source(path), 100.0)) == 2


def test_a_still_is_made_once_for_each_version_of_the_file(media: Media, tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", 2.0)
    first = media.still(source(path), 1.0)
    written = first.stat().st_ino
    assert media.still(source(path), 1.04).stat().st_ino == written
    film(path, 3.0)
    assert media.still(source(path), 1.0) != first


def test_size_and_rotation_of_a_still(media: Media, tmp_path: Path) -> None:
    path = turned(film(tmp_path / "a.mp4", 1.0, size=(1280, 720)), tmp_path / "t.mp4")
    with Image.open(media.still(source(path), 0.5)) as image:
        assert image.size == (270, 480)


def test_a_file_that_is_no_video_is_refused(media: Media, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("words")
    for make in (media.still, media.start_preview, lambda file, *_: media.clip(file, 3.0, 4.5)):
        with pytest.raises(NotPlayable, match="not a video that can be read"):
            make(source(tmp_path / "a.mp4"), 0.0)
    assert list(media.cache.folder.iterdir()) == []


def test_files_made_before_a_correction_are_made_anew(
    media: Media, films: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = source(films / "red.mp4")
    first = media.still(file, 1.0)
    monkeypatch.setattr(media_module, "VERSION", media_module.VERSION + 1)
    assert media.still(file, 1.0) != first


def length(path: Path | None) -> float:
    assert path is not None
    with av.open(path) as container:
        return float((container.duration or 0) / av.time_base)


def test_a_clip(media: Media, films: Path) -> None:
    file = source(films / "red.mp4")
    path = media.clip(file, 3.0, 4.5)
    with av.open(path) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]
    assert length(path) == pytest.approx(1.5, abs=0.1)
    assert media.clip(file, 3.0, 4.5) == path
    assert media.clip(file, 3.0, 4.6) != path


def test_a_clip_is_given_up_when_the_server_ends(media: Media, films: Path) -> None:
    media.close()
    with pytest.raises(Stopped):
        media.clip(source(films / "red.mp4"), 0.0, 1.0)
    assert list(media.cache.folder.iterdir()) == []


def wait(media: Media) -> None:
    done = threading.Event()
    media.jobs._pool.submit(done.set)
    assert done.wait(60)


def test_a_video_that_browsers_play_needs_no_preview(media: Media, films: Path) -> None:
    assert media.start_preview(source(films / "red.mp4")).state == "needless"
    assert not media.cache.folder.exists()


@pytest.mark.parametrize("name", ["old.avi", "copy.mkv"])
def test_a_preview_is_made_in_the_background(media: Media, films: Path, name: str) -> None:
    file = source(films / name)
    assert media.preview_state(file).state == "absent"
    assert media.start_preview(file).state in ("working", "ready")
    wait(media)
    assert media.start_preview(file) == PreviewState(state="ready")
    path = media.preview(file)
    assert path is not None
    with av.open(path) as container:
        assert container.streams.video[0].codec_context.name == "h264"
    assert length(path) == pytest.approx(6.0, abs=0.1)


def test_streams_that_fit_are_copied(
    media: Media, films: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(media_module, "transcode")
    media.start_preview(source(films / "copy.mkv"))
    wait(media)
    assert media.preview_state(source(films / "copy.mkv")).state == "ready"


def test_streams_that_cannot_be_copied_are_encoded(
    media: Media, films: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise NotPlayable("no such packets")

    monkeypatch.setattr(media_module, "copy_streams", fail)
    file = source(films / "copy.mkv")
    media.start_preview(file)
    wait(media)
    assert length(media.preview(file)) == pytest.approx(6.0, abs=0.1)


def test_a_failed_preview_gives_the_reason(
    media: Media, films: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise NotPlayable("it is broken")

    monkeypatch.setattr(media_module, "transcode", fail)
    file = source(films / "old.avi")
    media.start_preview(file)
    wait(media)
    assert media.preview_state(file) == PreviewState(
        state="failed", done=0.0, message="it is broken"
    )
    assert list(media.cache.folder.iterdir()) == []
