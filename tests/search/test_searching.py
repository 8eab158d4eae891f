"""One query, checked and answered."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from search.libraries import library, video

from dreamprvr.core.errors import UserError
from dreamprvr.search.engine.edge import EdgeEngine
from dreamprvr.search.engine.interface import EngineHit, EngineQuery
from dreamprvr.search.library import Library
from dreamprvr.search.searching import (
    CANDIDATES,
    EXACT,
    MOST,
    candidate_count,
    check_ids,
    check_numbers,
    check_text,
    check_where,
)


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


def test_large_libraries_are_searched_by_candidates() -> None:
    assert candidate_count(None, EXACT) is None
    assert candidate_count(None, EXACT + 1) == CANDIDATES
    assert candidate_count("all", 10**9) is None
    assert candidate_count(7, 3) == 7


def test_a_library_that_counts_as_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with library(tmp_path, *(video(f"v{i}", dog=i) for i in range(8))) as made:
        assert made.search("dog").scored == 8
        monkeypatch.setattr("dreamprvr.search.searching.EXACT", 7)
        monkeypatch.setattr("dreamprvr.search.searching.CANDIDATES", 3)
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

    monkeypatch.setattr(EdgeEngine, "search", watched)
    with library(tmp_path, *(video(f"v{i}", dog=i) for i in range(8))) as made:
        made.search("dog", candidates=4)
        monkeypatch.setattr("dreamprvr.search.searching.SCANNED", 7)
        made.search("dog", candidates=4)
    assert asked == [False, True]


CSV = "video_id,tags\na,x\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    folder = tmp_path_factory.mktemp("library")
    with library(folder, video("a", dog=7), video("b"), metadata=CSV) as opened:
        yield opened


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda made: made.search("dog", k=2.5), r"k is 2\.5; it must be a whole number"),
        (lambda made: made.search("dog", k="3"), "k is '3'; it must be a whole number"),
        (lambda made: made.search("dog", k=True), "k is True; it must be a whole number"),
        (
            lambda made: made.search("dog", k=MOST + 1),
            "k is above 1,000,000, the largest allowed number",
        ),
        (lambda made: made.search("dog", moments=10**5000), "moments is above 1,000,000"),
        (lambda made: made.search("dog", candidates=2**64), "candidates is above 1,000,000"),
        (lambda made: made.search("dog", moments=None), "moments is None; it must be a"),
        (
            lambda made: made.search("dog", candidates="some"),
            "candidates is 'some'; it must be a number, or",
        ),
        (
            lambda made: made.search("dog", candidates=1.5),
            r"candidates is 1\.5; it must be a whole",
        ),
        (lambda made: made.search("dog", threshold="a"), "threshold is 'a'; it must be a number"),
        (lambda made: made.search("dog", threshold=float("nan")), "threshold is nan; it must be"),
        (
            lambda made: made.search("dog", where="tags=x"),
            "where is 'tags=x'; it must hold columns",
        ),
        (lambda made: made.search("dog", where={1: "x"}), "where is {1: 'x'}; it must hold"),
        (
            lambda made: made.search("dog", where={"tags": "\ud800"}),
            r"where is not Unicode text: '",
        ),
        (lambda made: made.videos("tags=x"), "where is 'tags=x'; it must hold"),
        (lambda made: made.search("a \ud800 dog"), "the query is not Unicode text: 'a "),
        (lambda made: made.search(None), "the query is None; it must be a sentence"),
        (lambda made: made.delete("one"), r"video ids are 'one'; they must be a list"),
        (lambda made: made.delete([1]), r"video ids are \[1\]; they must be a list"),
        (lambda made: made.delete(None), "video ids are None; they must be a list"),
    ],
)
def test_arguments_of_other_kinds_are_refused(
    made: Library, ask: Callable[[Library], Any], message: str
) -> None:
    with pytest.raises(UserError, match=f"^{message}") as error:
        ask(made)
    assert "\n" not in str(error.value)
    str(error.value).encode()  # it can be printed


def test_arguments_of_other_numeric_types_are_taken(made: Library) -> None:
    assert len(made.search("dog", k=np.int64(1), threshold=np.float32(0.1)).hits) == 1
    assert len(made.search("dog", k=MOST, moments=MOST, threshold=0, candidates=MOST).hits) == 2
    assert made.search("dog", where={"tags": ["x", 3]}).searched == 1
    check_text("Ein Hund läuft 🐕")
    check_numbers(-0.5, "all", k=1, moments=1)
    check_where(None)
    check_where({})
    assert check_ids(name for name in "ab") == ["a", "b"]
