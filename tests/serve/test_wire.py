import json
import math
from pathlib import Path

import pytest

from dreamprvr.search.results import Curve, Hit, LibraryVideo, Moment, SearchResult
from dreamprvr.serve.wire import result_json, thinned, video_id_of, video_json, video_key


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
def test_what_is_no_key(key: str) -> None:
    assert video_id_of(key) is None


def test_a_video_tells_nothing_of_its_path(tmp_path: Path) -> None:
    metadata = {"tag": ["a", 1], "n": math.nan, "date": Path("x"), "ok": True}
    data = video_json(LibraryVideo("v", tmp_path / "secret" / "v.mp4", 3.0, metadata))
    assert data["metadata"] == {"tag": ["a", 1], "n": None, "date": "x", "ok": True}
    assert (data["title"], data["duration"], data["there"]) == ("v", 3.0, False)
    assert "secret" not in json.dumps(data, allow_nan=False)


def test_a_result() -> None:
    moment = Moment(61.5, 75.0, 70.0, 0.5)
    hit = Hit(
        1, LibraryVideo("v", None, math.nan, {}), 0.7, (moment,), Curve((0.0,), (9.0,), (0.5,)), ()
    )
    data = result_json(SearchResult("words", (hit,), 0.01, 40, 40))
    json.dumps(data, allow_nan=False)
    found = data["hits"][0]
    assert found["moments"][0]["label"] == "01:01–01:15"
    assert found["curve"] == {"starts": [0.0], "ends": [9.0], "scores": [0.5]}
    assert found["video"]["duration"] is None
    assert (data["searched"], found["registers"]) == (40, [])


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
