"""Behaviour of every engine, embedded and remote."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from search.engine.cases import (
    DIM,
    KINDS,
    WORDS,
    arrays,
    best,
    engine,
    query,
    record,
    score,
    unit,
)

from dreamprvr.search.engine.interface import Allowed, Engine, EngineHit, EngineQuery, Record

pytestmark = [
    # Qdrant's engine in memory keeps no index and searches exactly, and says so
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact"),
]
VIDEOS = [record(number) for number in range(150)]


@pytest.fixture(params=KINDS)
def filled(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    made = engine(request.param, tmp_path)
    made.upsert(VIDEOS)
    yield made
    made.close()


def same(found: list[EngineHit], videos: list[Record], asked: EngineQuery) -> None:
    """Scores to 1e-3, and an order that differs only between near-ties."""
    expected = best(videos, asked)
    assert len(found) == len(expected)
    scores = {video.video_id: score(video, asked) for video in videos}
    for hit, (_, wanted) in zip(found, expected, strict=True):
        assert hit.score == pytest.approx(scores[hit.video_id], abs=1e-3)
        assert scores[hit.video_id] == pytest.approx(wanted, abs=1e-3)
    assert len({hit.video_id for hit in found}) == len(found)
    assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)


def test_scores_are_exact(filled: Engine) -> None:
    for weights in ((0.6, 0.4), (0.5, 0.5), (0.02, 3.0), (0.0, 1.0), (1.0, 0.0)):
        for limit in (150, 7):
            asked = query(weights=weights, limit=limit)
            same(filled.search(asked), VIDEOS, asked)


@pytest.mark.parametrize("kind", KINDS)
def test_several_rows_a_scale_and_other_scales(kind: str, tmp_path: Path) -> None:
    """A weighted row for each word, as RAL has it, for scales of any name."""
    made = engine(kind, tmp_path, WORDS)
    videos = [record(number, layout=WORDS) for number in range(40)]
    made.upsert(videos)
    random = np.random.default_rng(3)
    rows = {
        scale: random.random((count, 1)).astype(np.float32) * unit(random, count)
        for scale, count in (("frames", 3), ("scenes", 1), ("shots", 2))
    }
    asked = query(rows=rows, segments=unit(random, 2), limit=40)
    same(made.search(asked), videos, asked)
    (found,) = made.fetch(["video 3"])
    for name, kept in arrays(found).items():
        np.testing.assert_allclose(kept, arrays(videos[3])[name], atol=2e-3)
    nearest = sorted(videos, key=lambda v: -(v.segments @ asked.segments.T).max(axis=0).sum())
    few = replace(asked, candidates=9, limit=9)
    same(made.search(few), nearest[:9], few)
    made.close()


@pytest.mark.parametrize(
    ("where", "numbers"),
    [
        ({"group": "2"}, range(2, 150, 5)),
        ({"group": 2}, range(2, 150, 5)),
        ({"tags": "odd"}, range(1, 150, 2)),
        ({"tags": "odd", "group": ["0", "1"]}, [n for n in range(1, 150, 2) if n % 5 < 2]),
        ({"tags": ["t0", "t1"]}, [n for n in range(150) if n % 3 < 2]),
        ({"group": "none"}, []),
        ({"group\", \"2": ""}, []),
    ],
)  # fmt: skip
def test_filters(filled: Engine, where: dict[str, Any], numbers: list[int]) -> None:
    kept = [VIDEOS[number] for number in numbers]
    for candidates in (None, 150):
        asked = query(allowed=Allowed(where), limit=20, candidates=candidates)
        same(filled.search(asked), kept, asked)
    assert filled.count(Allowed(where)) == len(kept)


def test_candidates_are_the_nearest_segments(filled: Engine) -> None:
    for number, limit in ((12, 12), (12, 3)):
        asked = query(candidates=number, limit=limit)
        nearest = sorted(VIDEOS, key=lambda video: -(video.segments @ asked.segments[0]).max())
        same(filled.search(asked), nearest[:number], asked)


@pytest.mark.parametrize("candidates", [None, 30])
def test_only_and_besides_name_videos(filled: Engine, candidates: int | None) -> None:
    only = [f"video {number}" for number in range(20)] + ["unknown"]
    besides = ["video 3", "video 149"]
    kept = [video for video in VIDEOS if video.video_id in only and video.video_id not in besides]
    asked = query(allowed=Allowed({}, only, besides), limit=30, candidates=candidates)
    same(filled.search(asked), kept, asked)
    assert filled.count(Allowed({}, only, besides)) == 19
    assert filled.count(Allowed({"group": "3"}, only, besides)) == 3  # 8, 13 and 18
    assert filled.count(Allowed(only=())) == 0
    assert filled.count(Allowed({"group": []})) == 0
    assert filled.count(Allowed(besides=besides)) == 148


def test_a_filter_stands_before_the_candidates(filled: Engine) -> None:
    asked = query(allowed=Allowed({"group": "3"}), candidates=30, limit=30)
    same(filled.search(asked), VIDEOS[3::5], asked)


def test_without_clips(tmp_path: Path) -> None:
    for kind in KINDS:
        made = engine(kind, tmp_path)
        videos = [record(number, clips=False) for number in range(20)]
        made.upsert(videos)
        asked = query(weights=(0.0, 1.0))
        same(made.search(asked), videos, asked)
        (found,) = made.fetch(["video 3"])
        assert found.tokens["clips"].shape == found.extras["registers"].shape == (0, DIM)
        made.close()


def test_videos_are_returned_in_the_requested_order(filled: Engine) -> None:
    names = ["video 7", "nobody", "video 3"]
    found = filled.fetch(names)
    assert [video.video_id for video in found] == ["video 7", "video 3"]
    for video, number in zip(found, (7, 3), strict=True):
        expected = VIDEOS[number]
        assert video.payload == expected.payload
        for name, rows in arrays(video).items():
            np.testing.assert_allclose(rows, arrays(expected)[name], atol=2e-3)
            assert rows.dtype == np.float32


def test_a_video_is_replaced_as_a_whole(filled: Engine) -> None:
    other = record(3, version=1)
    filled.upsert([other])
    (found,) = filled.fetch(["video 3"])
    assert found.payload["version"] == 1
    assert found.tokens["frames"].shape == other.tokens["frames"].shape
    assert filled.count() == 150


def test_only_payloads_are_replaced(filled: Engine) -> None:
    filled.set_payloads({"video 3": {"metadata": {"group": "new"}}})
    (found,) = filled.fetch(["video 3"])
    assert found.payload == {"metadata": {"group": "new"}}
    np.testing.assert_allclose(found.tokens["frames"], VIDEOS[3].tokens["frames"], atol=1e-3)
    assert filled.count(Allowed({"group": "new"})) == 1
    assert filled.count(Allowed({"group": "3"})) == 29


def test_deleted_videos_are_not_found(filled: Engine) -> None:
    filled.delete(["video 3", "nobody", "video 4"])
    assert filled.count() == 148
    filled.compact()
    rest = [video for number, video in enumerate(VIDEOS) if number not in (3, 4)]
    asked = query(limit=150)
    same(filled.search(asked), rest, asked)


def test_all_payloads(filled: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("edge", "remote"):
        monkeypatch.setattr(f"dreamprvr.search.engine.{module}.PAGE", 60)
    found = dict(filled.payloads())
    assert found == {video.video_id: video.payload for video in VIDEOS}
    some = dict(filled.payloads(["video 7", "nobody", "video 3"]))
    assert some == {f"video {number}": VIDEOS[number].payload for number in (3, 7)}


def test_equal_scores_come_by_id(filled: Engine) -> None:
    payload = {"metadata": {"group": "twins"}}
    twins = [replace(VIDEOS[0], video_id=name, payload=payload) for name in ("c", "a", "b")]
    filled.upsert(twins)
    found = filled.search(query(allowed=Allowed({"group": "twins"})))
    assert [hit.video_id for hit in found] == ["a", "b", "c"]


def test_an_empty_engine(tmp_path: Path) -> None:
    for kind in KINDS:
        made = engine(kind, tmp_path)
        assert made.search(query()) == []
        assert made.search(query(candidates=10)) == []
        assert list(made.payloads()) == []
        assert made.fetch(["a"]) == []
        assert made.count() == 0
        made.delete(["a"])
        made.close()
