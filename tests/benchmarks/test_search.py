import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("qdrant_edge")
pytest.importorskip("qdrant_client")

from benchmarks import search, search_ways
from benchmarks.search import exact_lists, quality, sum_recall
from benchmarks.search_videos import Videos

pytestmark = [
    pytest.mark.filterwarnings("ignore:Local mode performs exact"),
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect"),
]
SIZES = ["--videos", "60", "--queries", "30", "--rounds", "3", "--candidates", "20", "60"]
Run = Callable[..., Any]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs the benchmark on small videos and reads its JSON."""

    def small(count: int) -> Videos:
        return Videos(count, concepts=8, events=4)

    def measured(*options: str) -> Any:
        path = tmp_path / "s.json"
        search.main([*SIZES, "--folder", str(tmp_path), "--output", str(path), *options])
        return json.loads(path.read_text())

    monkeypatch.setattr(search, "in_fresh_process", lambda work, *arguments: work(*arguments))
    monkeypatch.setattr(search, "Videos", small)
    monkeypatch.setattr(search, "text_side", lambda: lambda number: None)  # a large model
    monkeypatch.setattr(search, "LIMIT", 10)
    monkeypatch.setattr(search_ways, "TILE", 16)
    return measured


def slow_sum_recall(queries: int) -> float:
    """SumR by loops over queries and videos; a list is cut at 10, as `LIMIT` is here."""
    videos = Videos(60, concepts=8, events=4)
    (part,) = videos.parts()
    asked = videos.queries(30)
    total = 0.0
    for query, true in zip(asked.vectors[:queries], asked.true[:queries], strict=True):
        scores = [
            0.6 * (clips @ query).max() + 0.4 * (frames @ query).max()
            for clips, frames in zip(part.clips, part.frames, strict=True)
        ]
        rank = sum(score > scores[true] for score in scores)
        total += sum(rank < min(cut, 10) for cut in (1, 5, 10, 100))
    return 100 * total / queries


@pytest.mark.parametrize(("engine", "dtype"), [("edge", "float32"), ("memory", "float16")])
def test_figures(run: Run, tmp_path: Path, engine: str, dtype: str) -> None:
    found = run("--engine", engine, "--dtype", dtype)
    rows = {row["search"]: row for row in found["results"]}
    assert list(rows) == [
        "torch", "numpy", "engine, exact", "whole search, all videos", "whole search, default",
        "engine, 20 candidates", "engine, 60 candidates", "torch, filter", "engine, exact, filter",
        "engine, 60 candidates, filter",
    ]  # fmt: skip
    for name in ("torch", "numpy", "engine, exact", "torch, filter", "engine, exact, filter"):
        assert rows[name]["queries"] == 3
        assert rows[name]["recall %"] == pytest.approx(100)
        assert rows[name]["SumR kept %"] == pytest.approx(100)
    assert rows["torch"]["SumR"] == pytest.approx(slow_sum_recall(3))
    every = rows["engine, 60 candidates"]
    assert (every["queries"], every["recall %"]) == (30, 100)
    assert every["SumR"] == pytest.approx(slow_sum_recall(30))
    fewer = rows["engine, 20 candidates"]
    assert 50 < fewer["recall %"] < 100
    assert fewer["SumR kept %"] == pytest.approx(100 * fewer["SumR"] / every["SumR"])
    assert found["text_seconds"] > 0
    assert all(math.isfinite(row["ms"]) for row in rows.values())
    assert ("disk MB" in found["costs"]) == (engine == "edge")
    assert engine != "edge" or 1000 * found["costs"]["kB a video"] > 160 * 384 * 2
    assert [path.name for path in tmp_path.iterdir()] == ["s.json"]  # the engine's files are gone
    assert found["scan_bytes"] == 60 * 160 * 384 * (4 if dtype == "float32" else 2)


def test_wrong_answers_lower_the_figures(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    right = search.ways

    def wrong(*arguments: Any) -> dict[str, search.Way]:
        ways = right(*arguments)
        return {**ways, "engine, exact": search.Way(lambda number: [0] * 10)}

    monkeypatch.setattr(search, "ways", wrong)
    rows = {row["search"]: row for row in run()["results"]}
    assert rows["engine, exact"]["recall %"] < 50
    assert rows["torch"]["recall %"] == pytest.approx(100)


def test_a_row_for_each_word(run: Run) -> None:
    """The exact ways agree with loops over words and frames; candidates lose some videos."""
    found = run("--model", "ral")["results"]
    rows = {row["search"]: row for row in found}
    names = ["torch", "engine, exact", "engine, 20 candidates", "engine, 60 candidates"]
    assert list(rows) == names
    for name in names[:2]:
        assert rows[name]["recall %"] == pytest.approx(100)
    assert rows["engine, 60 candidates"]["recall %"] == pytest.approx(100)
    assert 50 < rows["engine, 20 candidates"]["recall %"] < 100

    videos = Videos(60, concepts=8, events=4)
    (part,) = videos.parts()
    queries = videos.queries(30)
    asked = search.words(queries)
    total = 0.0
    for q in range(3):
        scores = []
        for clips, frames in zip(part.clips, part.frames, strict=True):
            best = [w * (frames @ v).max() for v, w in zip(asked[0][q], asked[1][q], strict=True)]
            scores.append(0.6 * (clips @ queries.vectors[q]).max() + 0.4 * sum(best))
        rank = sum(score > scores[queries.true[q]] for score in scores)
        total += sum(rank < min(cut, 10) for cut in (1, 5, 10, 100))
    assert rows["engine, exact"]["SumR"] == pytest.approx(100 * total / 3)


def test_more_candidates_scored_again_lose_fewer_videos(run: Run) -> None:
    found = run("--model", "ms_sl", "--candidates", "60")["results"]
    assert [row["scored again"] for row in found] == [10, 25, 50, 100, 60]
    recalls = [row["recall@10 %"] for row in found]
    assert recalls[0] < recalls[1] <= recalls[2]
    assert recalls[3:] == [100, 100]  # there are 60 videos


def test_queries_take_turns() -> None:
    seen: list[int] = []

    def answer(number: int) -> list[int]:
        seen.append(number)
        return []

    timed = search.InTurn(answer, 2)
    for _ in range(3):
        timed()
    assert seen == [0, 1, 0]


def test_exact_lists() -> None:
    scores = np.array([[0.1, 0.9, 0.5, 0.7], [0.4, 0.3, 0.2, 0.1]])
    assert exact_lists(scores, 3).tolist() == [[1, 3, 2], [0, 1, 2]]
    assert exact_lists(scores, 9).tolist() == [[1, 3, 2, 0], [0, 1, 2, 3]]


def test_exact_lists_with_a_filter() -> None:
    scores = np.array([[0.1, 0.9, 0.5, 0.7], [0.4, 0.3, 0.2, 0.1]])
    allowed = np.array([[True, False, True, False], [False, True, False, True]])
    assert exact_lists(scores, 3, allowed).tolist() == [[2, 0], [1, 3]]


def test_sum_recall() -> None:
    # first, third, twelfth, missing: 100/4 + 2 * 100/4 + 2 * 100/4 + 3 * 100/4
    lists = [[7], [1, 2, 7], [*range(20, 31), 7], [1, 2]]
    assert sum_recall(lists, np.full(4, 7)) == pytest.approx(25 + 50 + 50 + 75)


def test_quality_of_the_first_queries() -> None:
    exact = np.array([[1, 2], [3, 4], [5, 6]])
    found = quality([[1, 9], [4, 3]], exact, np.array([1, 3, 0]))
    assert found.recall == pytest.approx(75)
    assert found.sum_recall == pytest.approx(50 + 100 + 100 + 100)
    assert found.kept == pytest.approx(100 * 350 / 400)


def test_no_true_video_in_the_exact_list() -> None:
    assert quality([[1]], np.array([[1]]), np.array([5])).kept == 100
