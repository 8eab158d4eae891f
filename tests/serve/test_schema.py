import json
import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from dreamprvr.core.errors import UserError
from dreamprvr.search.results import Curve, Hit, LibraryVideo, Moment, SearchResult, SpokenMoment
from dreamprvr.serve.schema import (
    MAX_QUERY,
    BasketQuery,
    SearchQuery,
    Span,
    search_answer,
    thinned,
    video_fields,
    video_id_of,
    video_key,
)


def test_a_query_with_filters() -> None:
    where = ("tag=travel", "year=2021", "tag=cooking")
    query = SearchQuery(q="a  man\nruns ", k=20, threshold=-0.5, where=where)
    assert (query.q, query.k, query.threshold) == ("a man runs", 20, -0.5)
    assert query.arguments()["where"] == {"tag": ["cooking", "travel"], "year": ["2021"]}
    assert SearchQuery(q="x").arguments()["where"] == {}


def test_arguments_are_those_of_the_library() -> None:
    plain = SearchQuery(q="x")
    assert plain.arguments() == {"text": "x", "k": 10, "where": {}, "threshold": None}
    key = video_key("größe/a")
    rich = SearchQuery.model_validate({
        "like": f"{key}@12.5", "then": "a  cat", "name": "b", "skip": "20", "moments": "all",
        "subtitles": "false", "where": ("year>=2020", "year<2022", "length=60..300"),
    })  # fmt: skip
    assert rich.arguments() == {
        "text": None, "k": 10, "threshold": None, "like": ("größe/a", 12.5), "then": "a cat",
        "name": "b", "skip": 20, "moments": "all", "subtitles": False,
        "where": {"year": ["<2022", ">=2020"], "length": ["60..300"]},
    }  # fmt: skip
    assert SearchQuery.model_validate({"q": "x", "moments": "7"}).arguments()["moments"] == 7


def test_equal_searches_are_equal_queries() -> None:
    one = SearchQuery(q="x", where=("tag=a", "year=2019"))
    two = SearchQuery(q=" x", where=("year=2019", "tag=a", "tag=a"))
    assert one == two
    assert hash(one) == hash(two)


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"q": " \n"}, "at least 1 character"),
        ({"q": "a" * (MAX_QUERY + 1)}, "at most 1500 characters"),
        ({"k": "0"}, "greater than or equal to 1"),
        ({"k": "101"}, "less than or equal to 100"),
        ({"k": "\u0663"}, "valid integer"),  # a digit, but not one of ours
        ({"k": "1" * 5000}, "parse"),
        ({"threshold": "nan"}, "finite number"),
        ({"threshold": "inf"}, "finite number"),
        ({"threshold": "high"}, "valid number"),
        ({"where": ("tag",)}, "match pattern"),
        ({"where": (">=3",)}, "match pattern"),
        ({"q": None}, "give one of q, like and image"),
        ({"like": "YQ@1"}, "give one of q, like and image"),
        ({"image": "0" * 40}, "give one of q, like and image"),
        ({"q": None, "image": "../a.png"}, "match pattern"),
        ({"q": None, "like": "YQ"}, "match pattern"),
        ({"q": None, "like": "YQ@-1"}, "match pattern"),
        ({"q": None, "like": "????@1"}, "match pattern"),
        ({"q": None, "like": "Y@1"}, "like names no video"),
        ({"then": "a", "without": "b"}, "give either without or then"),
        ({"then": " "}, "at least 1 character"),
        ({"skip": "-1"}, "greater than or equal to 0"),
        ({"moments": "0"}, "greater than or equal to 1"),
        ({"moments": "some"}, "valid integer"),
        ({"where": ("=cooking",)}, "match pattern"),
        ({"where": ("tag=a",) * 65}, "at most 64 items"),
    ],
)
def test_queries_out_of_bounds(changed: dict[str, Any], line: str) -> None:
    with pytest.raises(ValidationError, match=line):
        SearchQuery.model_validate({"q": "x", **changed})


def test_moments_of_a_basket() -> None:
    query = BasketQuery(moment=["YQ@1.5-2", "b-_@0-1000000.125"])
    assert query.spans() == [("YQ", 1.5, 2.0), ("b-_", 0.0, 1000000.125)]
    with pytest.raises(UserError, match="the moment 2-1 ends before it begins"):
        BasketQuery(moment=["YQ@2-1"]).spans()
    for wrong in ("YQ@1", "YQ@-1-2", "@1-2", "../a@1-2", "YQ@1-2e9", "YQ@1-nan"):
        with pytest.raises(ValidationError):
            BasketQuery(moment=[wrong])


def test_spans() -> None:
    span = Span.model_validate({"start": "1.5", "end": "20"})
    assert (span.start, span.end) == (1.5, 20.0)
    for text in ("", "x", "-1", "nan", "inf", "1e9", "1e400"):
        with pytest.raises(ValidationError):
            Span.model_validate({"start": text, "end": "20"})
        with pytest.raises(ValidationError):
            Span.model_validate({"start": "0", "end": text})
    for start, end in (("2", "2"), ("3", "2")):
        with pytest.raises(ValidationError, match="end must be greater than start"):
            Span.model_validate({"start": start, "end": end})
    with pytest.raises(ValidationError, match="a clip has at most 600 seconds"):
        Span.model_validate({"start": "0", "end": "601"})


@pytest.mark.parametrize(
    "video_id", ["a", "folder__film 1", "../../etc/passwd", "größe/日本", "a" * 500]
)
def test_keys_stand_for_ids(video_id: str) -> None:
    key = video_key(video_id)
    assert key.replace("-", "").replace("_", "").isalnum()
    assert video_id_of(key) == video_id


@pytest.mark.parametrize(
    "key", ["..", "%2e%2e", "a", "YQ==", "YR", "Y Q", "YQ\n", "../YQ", "é", "_w", "~", "YQ/../YQ"]
)
def test_invalid_keys(key: str) -> None:
    assert video_id_of(key) is None


def test_the_path_of_a_video_is_not_sent(tmp_path: Path) -> None:
    metadata = {"tag": ["a", 1], "n": math.nan, "date": Path("x"), "ok": True}
    data = video_fields(LibraryVideo("v", tmp_path / "secret" / "v.mp4", 3.0, metadata))
    assert data["metadata"] == {"tag": ["a", 1], "n": None, "date": "x", "ok": True}
    assert (data["title"], data["duration"], data["there"]) == ("v", 3.0, False)
    assert "secret" not in json.dumps(data, allow_nan=False)


def test_a_result() -> None:
    moment = Moment(61.5, 75.0, 70.0, 0.5)
    spoken = SpokenMoment(61.5, 75.0, 70.0, 0.5, "hello", 0.9)
    hit = Hit(
        1,
        LibraryVideo("v", None, math.nan, {}),
        0.7,
        (moment, spoken),
        Curve((0.0,), (9.0,), (0.5,)),
        (),
    )
    result = SearchResult("words", (hit,), 0.01, 40, 40, "fair", 0.95, 0.2, 0.8)
    data = search_answer(result).model_dump(mode="json")
    json.dumps(data, allow_nan=False)
    found = data["hits"][0]
    plain = {"start": 61.5, "end": 75.0, "peak": 70.0, "score": 0.5, "words": None, "share": None}
    assert found["moments"] == [plain, {**plain, "words": "hello", "share": 0.9}]
    assert found["curve"] == {"starts": [0.0], "ends": [9.0], "scores": [0.5]}
    assert found["video"]["duration"] is None
    assert (data["searched"], found["registers"], found["relevance"]) == (40, [], 0)
    assert (data["strength"], data["confidence"], data["low"], data["high"]) == (
        "fair", 0.95, 0.2, 0.8,
    )  # fmt: skip


def test_long_curves_keep_their_peaks() -> None:
    count = 10_007
    scores = [0.0] * count
    scores[5003] = 0.9
    scores[-1] = -0.5
    curve = Curve(
        tuple(map(float, range(count))), tuple(i + 1.5 for i in range(count)), tuple(scores)
    )
    short = thinned(curve, 100)
    assert len(short.starts) == len(short.ends) == len(short.scores) == 100
    assert (short.starts[0], short.ends[-1]) == (0.0, count + 0.5)
    best = short.scores.index(0.9)
    assert short.starts[best] <= 5003 < short.ends[best]
    assert sum(short.scores) == 0.9
    assert thinned(curve, count) is curve
