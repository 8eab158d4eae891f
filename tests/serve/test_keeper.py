import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from serve.fake import FakeLibrary, keeper_of
from starlette.exceptions import HTTPException

from dreamprvr.core.errors import UserError
from dreamprvr.search.results import LibraryVideo
from dreamprvr.serve import keeper as keeper_module
from dreamprvr.serve.keeper import Keeper
from dreamprvr.serve.schema import Column, SearchQuery

QUERY = SearchQuery(q="red")


@pytest.fixture
def small() -> FakeLibrary:
    return FakeLibrary([LibraryVideo(f"v{i}", None, 10.0, {"tag": "ab"[i % 2]}) for i in range(3)])


def write_progress(folder: Path, **changed: object) -> None:
    data = {"done": 12, "total": 40, "video": "a.mp4", "pid": os.getpid(), **changed}
    (folder / "progress.json").write_text(json.dumps(data))


def test_a_failure_just_after_opening_is_tried_again(
    small: FakeLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Qdrant server that restarts, say."""
    closed = []
    broken = FakeLibrary([])

    def columns() -> dict[str, list[str]]:
        raise UserError("the Qdrant server does not answer")

    monkeypatch.setattr(broken, "columns", columns)
    monkeypatch.setattr(broken, "close", lambda: closed.append(True))
    answers = iter([broken, small])
    keeper = Keeper(tmp_path, lambda path: next(answers))
    assert (keeper.try_open(), keeper.contents, closed) == (False, None, [True])
    assert keeper.message == "the Qdrant server does not answer"
    assert keeper.try_open()
    assert keeper.contents is not None
    assert keeper.contents.videos == 3


def test_it_waits_for_the_library(small: FakeLibrary, tmp_path: Path) -> None:
    answers = iter([UserError("another process\nwrites"), small])

    def opener(path: Path) -> FakeLibrary:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    keeper = Keeper(tmp_path, opener)
    assert not keeper.try_open()
    assert (keeper.message, keeper.contents) == ("another process writes", None)
    assert keeper.try_open()
    assert keeper.try_open()  # is open; the iterator has no third answer
    assert keeper.contents is not None
    assert (keeper.contents.videos, keeper.contents.seconds) == (3, 30.0)
    assert keeper.contents.columns == [Column(name="tag", values=["a", "b"])]
    keeper.close()
    assert small.is_closed


def test_a_newer_state_is_taken_over_and_what_was_there_is_searched_until_then(
    small: FakeLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper, there, close = keeper_of(small, tmp_path), [], small.close
    keeper.look()  # nothing is open
    keeper.tend()
    first = keeper.search(QUERY)
    keeper.look()
    keeper.tend()
    assert keeper.search(QUERY) is first
    newer = small.newer = FakeLibrary(small.held[:1])
    monkeypatch.setattr(small, "close", lambda: there.append(keeper.contents) or close())
    keeper.look()
    assert keeper.search(QUERY) is first
    keeper.look()  # is opened only once
    keeper.tend()
    assert (small.is_closed, newer.is_closed) == (True, False)
    assert keeper.contents is not None
    assert (keeper.contents.videos, keeper.contents.version) == (1, 1)
    assert there == [keeper.contents]  # when the old one was closed
    assert len(keeper.search(QUERY).hits) == 1  # not from memory
    assert keeper.known("v1") == small.held[1]  # it may be playing
    last = newer.newer = FakeLibrary([])
    keeper.look()
    keeper.close()
    assert (newer.is_closed, last.is_closed, keeper.contents) == (True, True, None)
    for ask in (lambda: keeper.search(QUERY), lambda: keeper.video("v1")):
        with pytest.raises(HTTPException, match="the library is not open now") as refusal:
            ask()
        assert refusal.value.status_code == 503


def test_a_newer_state_that_cannot_be_opened_changes_nothing(
    small: FakeLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged() -> None:
        raise UserError("the engine's files are damaged")

    keeper = keeper_of(small, tmp_path)
    keeper.tend()
    small.newer = FakeLibrary([])
    monkeypatch.setattr(small.newer, "prepare", damaged)
    broken = small.newer
    keeper.look()
    assert broken.is_closed
    monkeypatch.setattr(small, "renewed", damaged)
    keeper.look()
    keeper.tend()
    assert len(keeper.search(QUERY).hits) == 3


def test_progress(tmp_path: Path) -> None:
    keeper = keeper_of(FakeLibrary([]), tmp_path)
    assert keeper.indexing() is None
    write_progress(tmp_path)
    state = keeper.indexing()
    assert state is not None
    assert (state.state, state.done, state.total, state.video) == ("indexing", 12, 40, "a.mp4")
    assert keeper.state() == state
    keeper.tend()
    assert keeper.state() == state  # nothing is there to be searched yet
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    write_progress(tmp_path, pid=done.pid)  # killed while it wrote
    assert keeper.indexing() is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "7", '{"done": 1}', '{"done": "x", "total": 2, "pid": 1}',
             "[" * 50_000, '{"done": 1, "total": 2, "pid": 1e400}',
             '{"done": 1, "total": 2, "pid": ' + "9" * 40 + "}"],
)  # fmt: skip
def test_an_invalid_progress_file_is_ignored(tmp_path: Path, text: str) -> None:
    (tmp_path / "progress.json").write_text(text)
    assert keeper_of(FakeLibrary([]), tmp_path).indexing() is None


def test_the_same_question_is_answered_from_memory(
    small: FakeLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = keeper_of(small, tmp_path)
    keeper.try_open()
    first = keeper.search(QUERY)
    assert keeper.search(QUERY) is first
    assert len(small.calls) == 1
    monkeypatch.setattr(keeper_module, "_FRESH", -1.0)
    keeper.search(QUERY)
    assert len(small.calls) == 2


def test_few_answers_and_videos_are_remembered(
    small: FakeLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_module, "_ANSWERS", 4)
    monkeypatch.setattr(keeper_module, "_VIDEOS", 2)
    keeper = keeper_of(small, tmp_path)
    keeper.try_open()
    for i in range(10):
        keeper.search(SearchQuery(q=str(i)))
    assert len(keeper._answers) == 4
    assert [keeper.known(f"v{i}") is None for i in range(3)] == [True, False, False]


def test_videos(small: FakeLibrary, tmp_path: Path) -> None:
    keeper = keeper_of(small, tmp_path)
    keeper.try_open()
    assert keeper.known("v1") is None
    assert keeper.video("v1") == small.held[1]
    assert keeper.known("v1") == small.held[1]
    assert keeper.video("nothing") is None
    assert keeper.known("nothing") is None


def test_the_list_of_videos_is_made_once_for_an_open_library(
    small: FakeLibrary, tmp_path: Path
) -> None:
    keeper = keeper_of(small, tmp_path)
    with pytest.raises(HTTPException):
        keeper.listing()
    keeper.try_open()
    assert len(keeper.listing().videos) == 3
    del small.held[1:]
    assert len(keeper.listing().videos) == 3
    keeper.close()
    keeper.try_open()
    assert len(keeper.listing().videos) == 1
