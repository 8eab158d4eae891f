"""Results as text and as JSON."""

import json
from pathlib import Path

import pytest

from dreamprvr.search.results import (
    Curve,
    Hit,
    LibraryVideo,
    Moment,
    SearchResult,
    as_json,
    as_text,
    clock,
    video_line,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "00:00"), (59.99, "00:59"), (61, "01:01"), (3599, "59:59"), (3600, "1:00:00"),
     (36_062, "10:01:02")],
)  # fmt: skip
def test_seconds_are_written_as_on_a_clock(seconds: float, text: str):
    assert clock(seconds) == text


def test_the_title_is_that_of_the_metadata_or_the_id():
    assert LibraryVideo("a", Path("/a.mp4"), 1.0, {"title": "Pan"}).title == "Pan"
    assert LibraryVideo("a", None, 1.0, {"title": ""}).title == "a"
    assert LibraryVideo("a", None, 1.0, {}).title == "a"


VIDEO = LibraryVideo("pan", Path("/films/pan.mp4"), 75.0, {"title": "Pan", "tags": ["a", "b"]})
MOMENTS = (Moment(61.0, 65.5, 63.0, 0.9), Moment(3.0, 5.0, 4.0, 0.5))
HIT = Hit(1, VIDEO, 0.9, MOMENTS, Curve((0.0,), (75.0,), (0.9,)), (0.25,))
RESULT = SearchResult("a pan", (HIT,), 0.0123, 1200, 1200)


def test_a_search_as_text():
    line, foot = as_text(RESULT).splitlines()
    assert line.split() == ["1", "0.900", "01:01-01:05", "Pan", "(also", "00:03-00:05)"]
    assert foot == "1,200 videos in 12 ms"
    near = SearchResult("a pan", (HIT,), 0.0123, 12_000, 1600)
    assert as_text(near).splitlines()[1] == "12,000 videos (1,600 candidates) in 12 ms"
    assert as_text(SearchResult("x", (), 0.1, 3, 3)) == "nothing found among 3 videos"


def test_a_search_as_json():
    found = json.loads(as_json(RESULT))
    assert found == {
        "query": "a pan",
        "seconds": 0.0123,
        "searched": 1200,
        "scored": 1200,
        "hits": [
            {
                "rank": 1, "video_id": "pan", "title": "Pan", "path": "/films/pan.mp4",
                "duration": 75.0, "score": 0.9, "metadata": {"title": "Pan", "tags": ["a", "b"]},
                "registers": [0.25],
                "moments": [
                    {"start": 61.0, "end": 65.5, "peak": 63.0, "score": 0.9},
                    {"start": 3.0, "end": 5.0, "peak": 4.0, "score": 0.5},
                ],
            }
        ],
    }  # fmt: skip


def test_a_line_of_a_list():
    assert video_line(VIDEO) == "pan  01:15  title=Pan  tags=a;b"


def test_control_characters_of_metadata_are_printed_as_escapes():
    columns = {"title": "two\nlines\x1b]0;x\x07 é", "no\rte": "\u2028"}
    odd = LibraryVideo("a\x1b[2J", None, 5.0, columns)
    hit = Hit(1, odd, 0.9, MOMENTS, Curve((0.0,), (75.0,), (0.9,)), ())
    result = SearchResult("x", (hit,), 0.1, 1, 1)
    line, _ = as_text(result).split("\n")
    assert line.endswith("01:01-01:05  two\\nlines\\x1b]0;x\\x07 é  (also 00:03-00:05)")
    assert video_line(odd) == (
        "a\\x1b[2J  00:05  title=two\\nlines\\x1b]0;x\\x07 é  no\\rte=\\u2028"
    )
    assert json.loads(as_json(result))["hits"][0]["title"] == odd.title
