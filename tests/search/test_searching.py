"""One query, checked and answered."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from search.libraries import library, video

from dreamprvr.core.errors import UserError
from dreamprvr.search.engine.edge import EdgeEngine
from dreamprvr.search.engine.interface import EngineHit, EngineQuery
from dreamprvr.search.library import Library


def test_scores_and_curves_are_cosines(tmp_path: Path) -> None:
    shown = video("a", dog=7)
    with library(tmp_path, shown) as made:
        (hit,) = made.search("dog").hits
    dog = shown.rows[:, 3] / np.linalg.norm(shown.rows, axis=1)
    np.testing.assert_allclose(hit.curve.scores, dog, atol=1e-3)
    assert hit.score == pytest.approx(dog.max(), abs=1e-3)
    assert hit.curve.starts == tuple(range(len(dog)))
    assert hit.registers == ()


def test_k_threshold_moments_and_candidates(tmp_path: Path) -> None:
    with library(tmp_path, *(video(f"v{i}", dog=i, cat=i + 10) for i in range(8))) as made:
        assert made.search("dog", k=2, candidates=4).scored == 4
        assert made.search("dog", k=6, candidates=4).scored == 6
        assert made.search("dog", candidates=9).scored == 8
        every = made.search("dog", k=100).hits
        assert len(every) == 8
        assert made.search("dog", k=3, candidates=8).hits == every[:3]
        limit = every[4].score
        assert len(made.search("dog", threshold=limit).hits) == 5
        assert made.search("dog", threshold=2.0).hits == ()
        many = made.search("dog cat", moments=2).hits[0].moments
        assert len(many) == 2
        assert len(made.search("dog cat", moments=1).hits[0].moments) == 1


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda made: made.search(" "), "the query is empty"),
        (lambda made: made.search("dog", k=0), "k is 0; it must be at least 1"),
        (lambda made: made.search("dog", moments=0), "moments is 0"),
        (lambda made: made.search("dog", candidates=0), "candidates is 0"),
        (lambda made: made.search("dog", where={"tag": "x"}), "no metadata column 'tag'.*tags"),
    ],
)
def test_mistakes_in_a_query_are_refused(
    tmp_path: Path, ask: Callable[[Library], Any], message: str
) -> None:
    made = library(tmp_path, video("a"), metadata="video_id,tags\na,x")
    with made, pytest.raises(UserError, match=message):
        ask(made)


def test_a_library_that_counts_as_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with library(tmp_path, *(video(f"v{i}", dog=i) for i in range(8))) as made:
        assert made.search("dog").scored == 8
        monkeypatch.setattr("dreamprvr.search.queries.EXACT", 7)
        monkeypatch.setattr("dreamprvr.search.queries.CANDIDATES", 3)
        assert made.search("dog", k=2).scored == 3
        assert made.search("dog", k=2, candidates="all").scored == 8


def test_a_graph_serves_where_scanning_is_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    search = EdgeEngine.search

    def watched(engine: EdgeEngine, query: EngineQuery) -> list[EngineHit]:
        asked.append(query.graph)
        return search(engine, query)

    with library(tmp_path, *(video(f"v{i}", dog=i) for i in range(8))) as made:
        made.prepare()  # searches for the sentences of the background
        monkeypatch.setattr(EdgeEngine, "search", watched)
        made.search("dog", candidates=4)
        monkeypatch.setattr("dreamprvr.search.searching.SCANNED", 7)
        made.search("dog", candidates=4)
    assert asked == [False, True]
