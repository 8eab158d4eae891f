from pathlib import Path

import av
import pytest

from dreamprvr.search.results import LibraryVideo
from dreamprvr.serve.cache import CacheFolder
from dreamprvr.serve.containers import source_file
from dreamprvr.serve.moment_clips import clip_name, moment_clip, read_second, read_span, safe_name
from dreamprvr.serve.replies import Refusal


def quiet(done: float) -> None:
    pass


def test_a_clip(films: Path, tmp_path: Path) -> None:
    cache = CacheFolder(tmp_path / "cache", 10**7)
    file = source_file(LibraryVideo("v", films / "red.mp4", 12.0, {}))
    path = moment_clip(cache, file, 3.0, 4.5, quiet)
    with av.open(path) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]
        assert float((container.duration or 0) / av.time_base) == pytest.approx(1.5, abs=0.1)
    assert moment_clip(cache, file, 3.0, 4.5, quiet) == path
    assert moment_clip(cache, file, 3.0, 4.6, quiet) != path


def test_nothing_there(films: Path, tmp_path: Path) -> None:
    file = source_file(LibraryVideo("v", films / "red.mp4", 12.0, {}))
    (tmp_path / "x.mp4").write_text("words")
    broken = source_file(LibraryVideo("x", tmp_path / "x.mp4", 12.0, {}))
    with pytest.raises(Refusal, match="not a video that can be read") as caught:
        moment_clip(CacheFolder(tmp_path / "cache", 10**7), broken, 3.0, 4.5, quiet)
    assert caught.value.status == 415
    assert file.size > 0


def test_spans() -> None:
    assert read_span("1.5", "20") == (1.5, 20.0)
    assert read_second("0") == 0
    for text in ("", "x", "-1", "nan", "inf", "1e9", "1e400"):
        with pytest.raises(Refusal, match="times are seconds"):
            read_second(text)
    for start, end in (("2", "2"), ("3", "2")):
        with pytest.raises(Refusal, match="ends after"):
            read_span(start, end)
    with pytest.raises(Refusal, match="at most 600 seconds"):
        read_span("0", "601")


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Red pan", "Red pan"),
        ("../../etc/passwd", "etc_passwd"),
        ('a"b\r\nX: 1;c', "a_b_X_ 1_c"),
        ("C:\\x<y>|?*", "C_x_y"),
        ("größe 日本", "größe 日本"),
        ("...", "video"),
        ("a" * 500, "a" * 80),
    ],
)
def test_file_names(title: str, expected: str) -> None:
    assert safe_name(title) == expected


def test_the_name_says_the_moment() -> None:
    video = LibraryVideo("v", None, 9.0, {"title": "Red pan"})
    assert clip_name(video, 61.0, 3725.0) == "Red pan 01.01-1.02.05.mp4"
