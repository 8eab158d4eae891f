import json
from pathlib import Path

import pytest

pytest.importorskip("qdrant_edge")

from benchmarks import long_videos
from benchmarks.long_videos import Shape, candidate_shares, searches
from benchmarks.search_videos import Videos


def test_both_ways_find_the_same(tmp_path: Path) -> None:
    shaped = Shape(videos=5, rows=140, k=3)
    ways = searches(shaped, 512, tmp_path)
    assert len(list((tmp_path / "rows").iterdir())) == 5
    for number in range(3):
        lists, files = (ways[name](number).hits for name in ("lists", "files"))
        assert [hit.video.video_id for hit in lists] == [hit.video.video_id for hit in files]
        assert [hit.curve for hit in lists] == [hit.curve for hit in files]
        assert len(lists) == 3


def test_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_videos, "CANDIDATES", (100, 120))
    few, all_of_them = candidate_shares(
        Videos(120, 16, clips=1, frames=200, events=8, concepts=30), 6
    )
    assert all_of_them["of the 100 best %"] == all_of_them["of the 10 best %"] == 100
    assert few["of the 100 best %"] < 100


def test_tables_and_json(tmp_path: Path) -> None:
    path = tmp_path / "long.json"
    options = ["--shapes", "3x150x2", "--dims", "8", "--videos", "110", "--queries", "2"]
    long_videos.main([*options, "--rounds", "1", "--output", str(path)])
    found = json.loads(path.read_text())
    assert [row["candidates"] for row in found["results"]] == [800, 1600]
    assert found["searches"][0]["files ms"] > 0
