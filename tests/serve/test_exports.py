import csv
import io
import zipfile
from dataclasses import replace
from typing import Any

import pytest

from dreamprvr.search.results import Curve, Hit, LibraryVideo, Moment, SearchResult, SpokenMoment
from dreamprvr.serve.exports import (
    clip_name,
    harmless,
    moments_vtt,
    results_csv,
    results_zip,
    safe_name,
)

MOMENTS = (Moment(75.0, 80.25, 77.0, 0.5), Moment(3.0, 8.0, 5.0, -0.25))


def hit(rank: int, **metadata: Any) -> Hit:
    return Hit(
        rank,
        LibraryVideo(f"v{rank}", None, 90.0, metadata),
        0.7,
        MOMENTS,
        Curve((), (), ()),
        (),
        70,
    )


def rows(result: SearchResult) -> list[dict[str, str]]:
    data = results_csv(result)
    assert data.startswith(b"\xef\xbb\xbf")
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))


def test_one_row_for_each_moment() -> None:
    hits = (hit(1, title='Größe, "x"\nnew', tag=["a", "b"]), hit(2, year=2021))
    table = rows(SearchResult("words", hits, 0.1, 2, 2))
    assert [(row["rank"], row["moment"]) for row in table] == [
        ("1", "1"),
        ("1", "2"),
        ("2", "1"),
        ("2", "2"),
    ]
    first = table[0]
    assert first["title"] == 'Größe, "x"\nnew'
    assert (first["from"], first["to"], first["start_seconds"]) == ("01:15", "01:20", "75.000")
    assert (first["tag"], first["year"], table[2]["year"]) == ("a, b", "", "2021")
    assert table[1]["moment_score"] == "-0.250000"  # a number, and meant as one


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        "  =1",
        "\u00a0=1",
        "＝1",
        "=cmd|' /C calc'!A0",
    ],
)
def test_formulas_stay_text(text: str) -> None:
    assert harmless(text) == f"'{text}"
    metadata = {"title": text, "tag": text, text: "x"}
    for row in rows(SearchResult("q", (hit(1, **metadata),), 0.1, 1, 1)):
        assert row["title"] == row["tag"] == f"'{text}"
        assert f"'{text}" in row


def test_plain_text_is_left_alone() -> None:
    for text in ("", "a=1", "1-2", "Red pan", "#5"):
        assert harmless(text) == text


def test_cues() -> None:
    text = moments_vtt("a <b>man</b> & --> x\nruns", hit(1, title="t --> \n\nu")).decode()
    assert text.splitlines() == [
        "WEBVTT", "",
        "NOTE t → u", "",
        "moment 2", "00:00:03.000 --> 00:00:08.000",
        "a &lt;b&gt;man&lt;/b&gt; &amp; --&gt; x runs (70 of 100)", "",
        "moment 1", "00:01:15.000 --> 00:01:20.250",
        "a &lt;b&gt;man&lt;/b&gt; &amp; --&gt; x runs (70 of 100)",
    ]  # fmt: skip


def test_spoken_words_stand_in_tables_and_cues() -> None:
    said = SpokenMoment(1.0, 2.0, 1.5, 0.1, "=a <dog> barks", 0.8)
    found = replace(hit(1), moments=(said, *MOMENTS))
    assert "a &lt;dog&gt; barks" in moments_vtt("q", found).decode()
    table = rows(SearchResult("q", (found,), 0.1, 1, 1))
    assert [row["words"] for row in table] == ["'=a <dog> barks", "", ""]
    assert table[0]["relevance"] == "70"


def test_cues_keep_the_spaces_and_joiners_of_names() -> None:
    name = "a\u00a0b\u3000c 👨\u200d👩\u200d👧 می\u200cخواهم"
    text = moments_vtt(name, hit(1, title=name)).decode()
    assert f"NOTE {name}\n" in text
    assert f"\n{name} (" in text


def test_an_archive_has_one_file_for_each_video() -> None:
    result = SearchResult("q", (hit(1, title="../x"), hit(2)), 0.1, 2, 2)
    data = results_zip(result)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.namelist() == ["001 x.vtt", "002 v2.vtt"]
        assert archive.read("002 v2.vtt") == moments_vtt("q", result.hits[1])
    assert results_zip(result) == data


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
        ("日" * 100, "日" * 60),
        ("a\u00a0b\u3000c\u2009d", "a\u00a0b\u3000c\u2009d"),
        ("👨\u200d👩\u200d👧 ❤\ufe0f", "👨\u200d👩\u200d👧 ❤\ufe0f"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("👩\u200d" * 60, "👩\u200d" * 25 + "👩"),
        ("x\u202egpj.exe", "x_gpj.exe"),
        ("a\udce9b\x9bc", "a_b_c"),
        ("Bob's film!", "Bob's film!"),
    ],
)
def test_file_names(title: str, expected: str) -> None:
    assert safe_name(title) == expected


def test_the_file_name_of_a_clip_holds_its_times() -> None:
    video = LibraryVideo("v", None, 9.0, {"title": "Red pan"})
    assert clip_name(video, 61.0, 3725.0) == "Red pan 01.01-1.02.05.mp4"
