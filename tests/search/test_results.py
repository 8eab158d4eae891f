"""Results as text and as JSON."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from dreamprvr.search.background import Background, Level
from dreamprvr.search.results import (
    Best,
    Curve,
    Hit,
    LibraryVideo,
    Moment,
    SearchResult,
    SpokenMoment,
    as_json,
    as_text,
    clock,
    judged,
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
HIT = Hit(1, VIDEO, 0.9, MOMENTS, Curve((0.0,), (75.0,), (0.9,)), (0.25,), relevance=87)
RESULT = SearchResult("a pan", (HIT,), 0.0123, 1200, 1200, "strong", 0.995, 0.2, 0.9)


def test_a_search_as_text():
    line, sure, foot = as_text(RESULT).splitlines()
    assert line.split() == ["1", "87", "01:01-01:05", "Pan", "(also", "00:03-00:05)"]
    assert sure == "strong match: 99% of random sentences score lower than the best pictures"
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
        "strength": "strong",
        "confidence": 0.995,
        "low": 0.2,
        "high": 0.9,
        "hits": [
            {
                "rank": 1, "video_id": "pan", "title": "Pan", "path": "/films/pan.mp4",
                "duration": 75.0, "score": 0.9, "relevance": 87, "registers": [0.25],
                "metadata": {"title": "Pan", "tags": ["a", "b"]},
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


def test_spoken_words_say_how_sure_they_are():
    said = SpokenMoment(5.0, 9.0, 7.0, 0.1, "two\nwords", 0.6)
    spoken = replace(answer(0.3, 0.2), hits=(replace(HIT, score=0.1, moments=(said, *MOMENTS)),))
    found = judged(spoken, Best(0.3, 0.3, said=0.6), BACKGROUND)
    assert (found.strength, found.hits[0].relevance) == ("fair", 60)
    assert judged(spoken, Best(0.3, 0.3, said=0.95), BACKGROUND).strength == "strong"
    assert judged(spoken, Best(0.9, 0.9, said=0.6), BACKGROUND).strength == "strong"
    line, sure, _ = as_text(found).splitlines()
    assert '00:05-00:09  Pan  "two\\nwords"  (also 01:01' in line
    assert sure.startswith("fair match: subtitles say 60% of the sentence; 60% of random")
    moment = json.loads(as_json(found))["hits"][0]["moments"][0]
    assert (moment["words"], moment["share"]) == ("two\nwords", 0.6)


SCORES = tuple(i / 100 for i in range(50))  # the median is 0.25
BACKGROUND = Background(Level(SCORES), Level(tuple(score / 2 for score in SCORES)))


def answer(*scores: float) -> SearchResult:
    """An answer of videos with these scores and curves from 0 up to them."""
    hits = tuple(
        Hit(rank, VIDEO, score, MOMENTS, Curve((0.0, 5.0), (5.0, 9.0), (0.0, score)), ())
        for rank, score in enumerate(scores, 1)
    )
    return SearchResult("x", hits, 0.1, 9, 9)


def test_scores_are_shown_between_the_background_and_the_best():
    found = judged(answer(1.25, 0.75, 0.3, 0.1), Best(1.25, 1.25), BACKGROUND)
    assert [hit.relevance for hit in found.hits] == [100, 50, 5, 0]
    assert (found.strength, found.confidence) == ("strong", 1.0)
    assert (found.low, found.high) == (0.125, 1.25)


def test_a_weak_answer_stays_low_on_its_scale():
    found = judged(answer(0.3, 0.2), Best(0.3, 0.3), BACKGROUND)
    assert [hit.relevance for hit in found.hits] == [21, 0]  # 0.05 of the 0.24 up to a strong one
    assert (found.strength, found.confidence) == ("weak", 0.6)
    assert "weak matches: 60% of random" in as_text(found)


def test_scores_over_time_are_compared_with_scores_over_time():
    found = judged(answer(0.3, 0.2), Best(0.3, 0.24, over_time=True), BACKGROUND)
    assert found.confidence == 0.96  # of 0.00, 0.005, ... 0.245
    assert found.strength == "fair"


def test_without_a_background_an_answer_has_its_own_scale():
    found = judged(answer(0.5, 0.25), Best(0.5, 0.5), None)
    assert [hit.relevance for hit in found.hits] == [100, 50]
    assert (found.strength, found.confidence, found.low, found.high) == (None, None, 0.0, 0.5)
    assert len(as_text(found).splitlines()) == 3
    nothing = answer()
    assert judged(nothing, Best(), BACKGROUND) is nothing
