"""One query, checked and answered."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from search.libraries import axis, library, video

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


def test_a_sentence_without_another(tmp_path: Path) -> None:
    both, alone = video("both", dog=7, cat=7, rows=30), video("alone", dog=9, red=9, rows=30)
    for shown in (both, alone):
        shown.rows[:] += axis("blue")
    with library(tmp_path, both, alone) as made:
        best = made.search("dog", k=1, without="cat").hits[0]
        assert best.video.video_id == "alone"
        for hit in made.search("dog", without="cat").hits:
            name = hit.video.video_id
            dog, cat = (
                next(h for h in made.search(word).hits if h.video.video_id == name).curve.scores
                for word in ("dog", "cat")
            )
            expected = [d - max(0, c) for d, c in zip(dog, cat, strict=True)]
            assert hit.curve.scores == pytest.approx(expected)
            assert hit.score == pytest.approx(max(expected))
        assert made.search("dog", without="cat").query == "dog, without cat"


def test_a_sentence_and_then_another(tmp_path: Path) -> None:
    right = video("right", dog=5, cat=20, rows=30)
    wrong = video("wrong", dog=20, cat=5, rows=30)
    with library(tmp_path, right, wrong, video("single", rows=1)) as made:
        found = made.search("dog", then="cat")
        assert [hit.video.video_id for hit in found.hits] == ["right", "wrong"]
        assert found.strength == "strong"
        dog, cat = found.hits[0].moments
        assert dog.start <= 5 < dog.end <= 20 < cat.end
        curves = [made.search(word, k=1).hits[0].curve.scores for word in ("dog", "cat")]
        pairs = [(a, b) for b in range(30) for a in range(b)]
        expected = max((curves[0][a] + curves[1][b]) / 2 for a, b in pairs)
        assert found.hits[0].score == pytest.approx(expected)
        weak = made.search("dog", then="flibber")  # as sure as its weaker half
        assert (weak.strength, weak.query) == ("weak", "dog, then flibber")


def test_all_moments_of_a_video(tmp_path: Path) -> None:
    shown = video("a", rows=100)
    for second in range(5, 100, 10):
        shown.rows[second] += 2 * axis("dog")
    with library(tmp_path, shown) as made:
        assert len(made.search("dog").hits[0].moments) == 3
        every = made.search("dog", moments="all").hits[0].moments
        assert len(every) > 10
        assert sorted(round(m.peak - 0.5) for m in every[:10]) == list(range(5, 100, 10))
        assert made.search("dog", moments=100).hits[0].moments == every


@pytest.mark.parametrize("asked", [{}, {"then": "cat"}, {"without": "red"}])
def test_pages_are_the_whole_answer_in_pieces(tmp_path: Path, asked: dict[str, str]) -> None:
    """Also where videos have equal scores, and where they are scored again in blocks."""
    videos = [video(f"v{i}", dog=i % 5 + 2, rows=12) for i in range(25)]
    twins = [replace(videos[3], video_id=f"twin {i}") for i in range(8)]
    with library(tmp_path, *videos, *twins) as made:
        whole = made.search("dog", k=40, rescored=40, **asked)
        pages = [made.search("dog", k=4, skip=i, rescored=40, **asked) for i in range(0, 40, 4)]
        joined = [hit for page in pages for hit in page.hits]
        assert [hit.rank for hit in joined] == list(range(1, 34))
        names = [hit.video.video_id for hit in joined]
        assert names == [hit.video.video_id for hit in whole.hits]
        assert {page.confidence for page in pages} == {whole.confidence}
        blocks = [made.search("dog", k=4, skip=i, rescored=5, **asked) for i in range(0, 40, 4)]
        assert sorted(h.video.video_id for page in blocks for h in page.hits) == sorted(names)
        assert made.search("dog", skip=33).hits == ()


def test_ranges_narrow_before_the_ranking(tmp_path: Path) -> None:
    videos = [video(f"v{i}", dog=3, rows=20 + i) for i in range(12)]
    table = "video_id,year\n" + "".join(f"v{i},{2010 + i}\n" for i in range(12))
    with library(tmp_path, *videos, metadata=table) as made:
        found = made.search("dog", k=2, where={"year": [">=2019", "<2021"]})
        assert found.searched == 2
        assert {hit.video.video_id for hit in found.hits} == {"v9", "v10"}
        assert made.search("dog", where={"length": "31..40"}).searched == 1
        assert made.search("dog", name="V1").searched == 3  # 1, 10 and 11
        assert made.search("dog", where={"year": "2000..2001"}).hits == ()
        assert [v.video_id for v in made.videos({"length": "<=21", "year": ">2010"})] == ["v1"]
