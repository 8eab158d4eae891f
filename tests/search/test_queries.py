"""Queries and the checks of their parts."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from search.libraries import library, video

from dreamprvr.core.errors import UserError
from dreamprvr.search.library import Library
from dreamprvr.search.queries import (
    CANDIDATES,
    EXACT,
    MOST,
    Query,
    candidate_count,
    check_ids,
    check_numbers,
    check_text,
    check_where,
)


def test_large_libraries_are_searched_by_candidates() -> None:
    assert candidate_count(None, EXACT) is None
    assert candidate_count(None, EXACT + 1) == CANDIDATES
    assert candidate_count("all", 10**9) is None
    assert candidate_count(7, 3) == 7


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


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (Query(), "the query is None; it must be a sentence"),
        (Query("dog", like=("a", 1.0)), "a search is for a sentence, a moment or a picture"),
        (Query("dog", then="a", without="b"), "give either `without` or `then`, not both"),
        (Query("dog", then=" "), "then is empty: leave it out, or give words"),
        (Query("dog", name=""), "name is empty"),
        (Query("dog", skip=-1), "skip is -1; it must be at least 0"),
        (Query("dog", moments="some"), "moments is 'some'; it must be a whole number"),  # type: ignore[arg-type]
        (Query(like="a@1"), "like is 'a@1'; it must be a video and a second"),  # type: ignore[arg-type]
        (Query(like=("a", -1.0)), "like has the second -1.0; it must be a number from 0 on"),
        (Query(like=("a", float("nan"))), "like has the second nan"),
        (Query(like=("\ud800", 1.0)), "like is not Unicode text"),
    ],
)
def test_parts_that_do_not_fit_are_refused(query: Query, message: str) -> None:
    with pytest.raises(UserError, match=message):
        query.check()


def test_a_query_in_words() -> None:
    assert Query("a dog", without="a cat").shown == "a dog, without a cat"
    assert Query(like=("film", 75.0), then="a cat").shown == "like film at 01:15, then a cat"
    assert Query(image=Path("/a/b.png")).shown == "like b.png"
    assert Query(image=b"GIF", then="a cat").shown == "like a picture, then a cat"
