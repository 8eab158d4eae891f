"""One process writes the next state of a library, while others search the last finished one."""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from search.libraries import DIM, features, library, video
from search.test_crash import start_held

from dreamprvr.core.errors import UserError
from dreamprvr.search.access import Session, WriterTurn, remove_old
from dreamprvr.search.engine.draft import Draft
from dreamprvr.search.engine.interface import Layout, Record
from dreamprvr.search.engine.journal import Journal
from dreamprvr.search.library import Library
from dreamprvr.search.manifest import COPY, NAME, WRITER, engines_in, read_manifest

FRAMES = Layout(DIM, ("frames",), {})


def test_a_second_writer_learns_at_once_who_writes(tmp_path: Path) -> None:
    first = WriterTurn(tmp_path)
    begin = time.monotonic()
    message = rf"is being written by `\S+` \(process {os.getpid()}\), so `\S+` cannot write it now"
    with pytest.raises(UserError, match=message):
        WriterTurn(tmp_path)
    assert time.monotonic() - begin < 0.5
    first.release()
    WriterTurn(tmp_path).release()


@pytest.mark.parametrize("note", ["", "x y", f"{10**30} lightning", "12"])
def test_a_writer_with_an_unreadable_note_is_another_process(
    tmp_path: Path, note: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dreamprvr.search.access._PAUSE", 0.0)
    first = WriterTurn(tmp_path)
    (tmp_path / WRITER).write_text(note)
    with pytest.raises(UserError, match="is being written by another process, so"):
        WriterTurn(tmp_path)
    first.release()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be opened: No such file"):
        WriterTurn(tmp_path / "none")


def test_what_was_there_is_searched_while_another_process_writes(tmp_path: Path) -> None:
    """A process of its own writes; this one searches, opens and is refused to write."""
    library(tmp_path, video("old", dog=7)).close()
    folder = tmp_path / "library"
    path = features(tmp_path / "more.hdf5", [video(name) for name in "abcd"])
    with Library.open(folder) as reader, start_held(folder, path) as process:
        assert process.stdout is not None
        # the process has written its first batch, and waits
        assert [process.stdout.readline() for _ in range(2)] == ["open\n", "a b\n"]
        with pytest.raises(UserError, match=rf"being written by .*\(process {process.pid}\)"):
            reader.delete(["old"])
        for opened in (reader, Library.open(folder)):
            assert [hit.video.video_id for hit in opened.search("dog").hits] == ["old"]
            assert opened.renewed() is None
        opened.close()
        assert process.communicate("go on\n")[0] == "c d\ndone\n"
        assert len(reader.search("dog", k=100).hits) == 1  # as it was
        newer = reader.renewed()
        assert newer is not None
        assert newer._model is reader._model  # nothing is loaded again
        assert len(newer.search("dog", k=100).hits) == 5
        assert len(engines_in(folder)) == 2
        reader.close()
        assert len(engines_in(folder)) == 1
        newer.close()
    assert process.returncode == 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    library(tmp_path, video("a"), video("b")).close()
    return tmp_path / "library"


def session_of(folder: Path) -> Session:
    return Session(folder, read_manifest(folder), lambda: FRAMES)


def record(name: str) -> Record:
    rows = np.eye(DIM, dtype=np.float32)
    return Record(name, {"frames": rows}, rows, {}, {"source": {"path": ""}, "metadata": {}})


def test_a_state_is_whole_before_it_is_seen(folder: Path) -> None:
    reader, writer = session_of(folder), session_of(folder)
    with writer.writing() as draft:
        draft.delete(["a"])
        draft.upsert([record("c"), record("d")])
        assert (draft.count(), reader.engine.count()) == (3, 2)
        late = session_of(folder)
        assert (late.engine.count(), reader.is_current(), late.is_current()) == (2, True, True)
    assert (writer.engine.count(), writer.is_current()) == (3, True)
    assert (reader.engine.count(), reader.is_current()) == (2, False)
    for session, states in ((reader, 2), (late, 1), (writer, 1)):
        session.close()
        assert len(engines_in(folder)) == states
    assert session_of(folder).engine.count() == 3


def test_only_a_change_makes_a_state(folder: Path) -> None:
    before = (folder / NAME).stat().st_ino, engines_in(folder)
    session = session_of(folder)
    with session.writing() as draft:
        draft.upsert([])
        draft.delete([])
        draft.set_payloads({})
    assert ((folder / NAME).stat().st_ino, engines_in(folder)) == before
    for change, moved in (
        (lambda draft: draft.compact(), False),
        (lambda draft: draft.set_payloads({"a": record("a").payload}), False),
        (lambda draft: draft.delete(["a"]), True),
    ):
        old = session.manifest
        with session.writing() as draft:
            change(draft)
        assert session.manifest.state == old.state + 1
        assert (session.manifest.videos_of == session.manifest.state) is moved
    session.close()


def test_an_error_while_writing_keeps_what_was_written(folder: Path) -> None:
    session = session_of(folder)

    def fail(*video_ids: str) -> None:
        with session.writing() as draft:
            draft.delete(video_ids)
            raise ZeroDivisionError

    for video_ids, left in (((), 2), (("a",), 1)):
        with pytest.raises(ZeroDivisionError):
            fail(*video_ids)
        assert session.engine.count() == left
    WriterTurn(folder).release()
    session.close()


def test_a_writer_begins_with_the_last_finished_state(folder: Path) -> None:
    first, second = session_of(folder), session_of(folder)
    with first.writing() as draft:
        draft.upsert([record("c")])
        with pytest.raises(UserError, match="cannot write it now"), second.writing():
            pass
        assert second.engine.count() == 2
    with second.writing() as draft:
        draft.upsert([record("d")])
    assert second.engine.count() == 4
    first.close()
    second.close()
    assert len(engines_in(folder)) == 1


def killed(folder: Path, *changes: Callable[[Draft], object]) -> Draft:
    """Leave a draft as a writer does that is killed; return it."""
    session = session_of(folder)
    draft = Draft(folder, session.manifest, session.engine, lambda: FRAMES)
    for change in changes:
        change(draft)
    draft.close()
    session.close()
    return draft


def test_the_draft_of_a_killed_writer_is_completed_by_whoever_opens(folder: Path) -> None:
    draft = killed(folder, lambda draft: draft.upsert([record("c"), record("d")]))
    Journal(draft.manifest.engine_in(folder)).open(["d"])  # killed within its last batch
    turn = WriterTurn(folder)
    at_work = session_of(folder)  # another writer may be at work on the draft
    assert (at_work.engine.count(), at_work.manifest.state) == (2, draft.manifest.state - 1)
    turn.release()
    session = session_of(folder)
    assert sorted(name for name, _ in session.engine.payloads()) == ["a", "b", "c"]
    assert session.manifest.videos_of == session.manifest.state == draft.manifest.state
    at_work.close()
    session.close()
    assert len(engines_in(folder)) == 1


def test_a_draft_that_cannot_be_completed_hinders_writers_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft = killed(folder, lambda draft: draft.upsert([record("c")]))
    Journal(draft.manifest.engine_in(folder)).open(["c"])
    usage = shutil._ntuple_diskusage(10**12, 10**12, 0)
    with monkeypatch.context() as full:
        full.setattr(shutil, "disk_usage", lambda path: usage)
        session = session_of(folder)
        assert session.engine.count() == 2
        with pytest.raises(UserError, match="MB of free disk"), session.writing():
            pass
        assert session.engine.count() == 2
    with session.writing():
        pass
    assert (session.engine.count(), session.is_current()) == (2, True)
    session.close()


def test_a_copy_that_was_not_complete_is_made_again(folder: Path) -> None:
    (folder / COPY / "segments").mkdir(parents=True)
    (folder / COPY / "edge_config.json").write_text("{")
    session = session_of(folder)
    assert session.engine.count() == 2
    with session.writing() as draft:
        draft.delete(["a"])
    assert (session.engine.count(), (folder / COPY).exists()) == (1, False)
    session.close()


def test_a_state_that_is_removed_while_it_is_opened(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer finishes the next state just after `library.json` was read."""
    read, writer = read_manifest, session_of(folder)

    def overtaken(path: Path) -> object:
        manifest = read(path)
        monkeypatch.undo()
        with writer.writing() as draft:
            draft.delete(["a"])
        assert not manifest.engine_in(folder).exists()
        return manifest

    first = read_manifest(folder)
    monkeypatch.setattr("dreamprvr.search.access.read_manifest", overtaken)
    session = Session(folder, first, lambda: FRAMES)
    assert session.engine.count() == 1
    session.close()
    writer.close()


def test_the_current_state_and_later_ones_are_not_removed(folder: Path) -> None:
    draft = killed(folder, lambda draft: draft.compact())
    (folder / NAME).with_suffix(".away").write_bytes((folder / NAME).read_bytes())
    before = engines_in(folder)
    assert len(before) == 2
    remove_old(folder)
    (folder / NAME).unlink()
    remove_old(folder)
    assert engines_in(folder) == before
    assert max(before.values()) == draft.manifest.state


def test_a_state_that_a_killed_writer_has_left_is_removed_by_whoever_opens(folder: Path) -> None:
    old = read_manifest(folder).engine_in(folder)
    kept = folder.parent / "kept"
    shutil.copytree(old, kept)
    session = session_of(folder)
    with session.writing() as draft:
        draft.delete(["a"])
    session.close()
    shutil.move(kept, old)
    assert len(engines_in(folder)) == 2
    session_of(folder).close()
    assert list(engines_in(folder)) == [read_manifest(folder).engine_in(folder).name]


def test_a_library_that_was_made_anew(folder: Path) -> None:
    session = session_of(folder)
    content = json.loads((folder / NAME).read_text())
    (folder / NAME).unlink()
    (folder / NAME).write_text(json.dumps({**content, "checkpoint": "another"}))
    assert not session.is_current()
    with pytest.raises(UserError, match="has been made anew: open it again"), session.writing():
        pass
    assert session.engine.count() == 2
    session.close()


def test_a_closed_session_cannot_be_used(folder: Path) -> None:
    session = session_of(folder)
    session.close()
    session.close()
    with pytest.raises(UserError, match="is closed"):
        _ = session.engine
    with pytest.raises(UserError, match="is closed"), session.writing():
        pass
    WriterTurn(folder).release()


def test_a_damaged_engine_lets_go_of_its_locks(folder: Path) -> None:
    (read_manifest(folder).engine_in(folder) / "edge_config.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        session_of(folder)
    shutil.rmtree(folder)
