"""Subtitle files beside videos, and their words."""

from pathlib import Path

import pytest

from dreamprvr.core.errors import UserError
from dreamprvr.search.subtitles import (
    CUES,
    FILE_BYTES,
    Passage,
    find_files,
    read_passages,
    skipped,
    words_of,
)

SRT = """1
00:00:01,000 --> 00:00:03,500
<i>Where is</i> the lighthouse?

2
00:00:03,600 --> 00:00:06,000 X1:1 X2:2
{\\an8}Behind the hill &amp; the
mill.

3
00:01:00,000 --> 00:01:02,000
Good night.
"""
VTT = """WEBVTT - a film

STYLE
::cue { color: red }

NOTE nothing --> here

intro
00:05.250 --> 00:07.000 align:start
<v Anna>¿Dónde está el faro?</v>
"""


def write(folder: Path, content: str | bytes, name: str = "a.srt") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_subtitles_are_joined_to_passages(tmp_path: Path) -> None:
    for text in (SRT, SRT.replace("\n", "\r\n"), f"\ufeff{SRT}", SRT.rstrip()):
        assert read_passages(write(tmp_path, text), 0.0) == [
            Passage(1.0, 6.0, "Where is the lighthouse? Behind the hill & the mill."),
            Passage(60.0, 62.0, "Good night."),
        ]
    assert read_passages(write(tmp_path, VTT), 90.0) == [Passage(5.25, 7.0, "¿Dónde está el faro?")]


def test_long_talk_is_cut_and_the_end_of_the_video_counts(tmp_path: Path) -> None:
    cues = "".join(f"00:00:{s:02d}.0 --> 00:00:{s + 1:02d}.0\nword{s}\n\n" for s in range(0, 50, 2))
    spans = [(p.start, p.end) for p in read_passages(write(tmp_path, cues), 40.5)]
    assert spans == [(0, 11), (12, 23), (24, 35), (36, 40.5)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("hello\n", "holds no subtitles"),
        ("00:00:05,0 --> 00:00:04,0\nbackwards\n", "holds no subtitles"),
        ("00:00:01,0 --> 00:00:04,0\n<i> </i>\n", "holds no subtitles"),
        ("99:00:01,0 --> 99:00:04,0\nlate\n", "holds no subtitles"),
        (SRT.encode("utf-16"), "UTF-16: convert the file to UTF-8"),
        ("00:00:01,0 --> 00:00:04,0\nfür\n".encode("latin-1"), "not UTF-8"),
        (b"\x89PNG\r\n\x1a\n" + bytes(90), "is an image"),
        (b"a" * (FILE_BYTES + 1), "is too large"),
        ("00:00:01,0 --> 00:00:04,0\nx\n\n" * (CUES + 1), "has more than 50,000 subtitles"),
    ],
)
def test_damaged_and_huge_files_are_refused_in_one_line(
    tmp_path: Path, content: str | bytes, message: str
) -> None:
    with pytest.raises(UserError, match=message) as error:
        read_passages(write(tmp_path, content), 100.0)
    line = skipped(error.value)
    assert line.startswith("subtitles are left out: ")
    assert "\n" not in line
    assert "a.srt" in line


def test_which_files_belong_to_a_video(tmp_path: Path) -> None:
    for name in ("film.mp4", "film.cut.mp4", "film.srt", "film.EN.SRT", "film.pt-BR.forced.vtt",
                 "film.cut.srt", "film2.srt", "film.txt", "film.a.b.c.srt"):  # fmt: skip
        write(tmp_path, "x", name)
    gone = tmp_path / "gone.mp4"
    write(tmp_path, SRT, "gone.srt")
    videos = {"a": tmp_path / "film.mp4", "b": tmp_path / "film.cut.mp4", "c": gone, "d": Path()}
    found = {name: [path.name for path in paths] for name, paths in find_files(videos).items()}
    assert found == {"a": ["film.EN.SRT", "film.pt-BR.forced.vtt", "film.srt"],
                     "b": ["film.cut.srt"]}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't STOP, 2nd!", ["don", "t", "stop", "2nd"]),
        ("Über Straße naïve", ["uber", "strasse", "naive"]),
        ("Привет, мир", ["привет", "мир"]),
        ("東京 tower", ["東", "京", "tower"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("ﬁlm ①", ["film", "1"]),
        ("— … !", []),
    ],
)
def test_words_in_many_languages(text: str, words: list[str]) -> None:
    assert words_of(text) == words
    assert words_of(text.upper()) == words
