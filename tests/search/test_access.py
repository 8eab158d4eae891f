"""Locks of a library: many processes read, one writes."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from search.libraries import DIM, features, library, video
from search.test_crash import start

from dreamprvr.core.errors import UserError
from dreamprvr.search import access
from dreamprvr.search.access import FolderLock, Session, WriterTurn, holders, is_wanted
from dreamprvr.search.engine.interface import Layout
from dreamprvr.search.library import Library
from dreamprvr.search.manifest import HOLDERS, WANTED, WRITER, read_manifest


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that waits for nobody."""
    monkeypatch.setattr(access, "BRIEF", 0.1)
    monkeypatch.setattr(access, "PATIENCE", 0.2)


def test_many_processes_may_read(tmp_path: Path) -> None:
    first, second = FolderLock(tmp_path, write=False), FolderLock(tmp_path, write=False)
    assert len(holders(tmp_path)) == 2
    first.release()
    second.release()
    assert holders(tmp_path) == []


@pytest.mark.parametrize(
    ("held", "wanted", "message"),
    [
        (True, True, r"is in use by `\S+` .* so `\S+` cannot write it now"),
        (False, True, r"is in use by `\S+` .* so `\S+` cannot write it now"),
        (True, False, r"is being written by `\S+` .* so `\S+` cannot open it now"),
    ],
)
@pytest.mark.usefixtures("hasty")
def test_a_writer_is_alone(tmp_path: Path, held: bool, wanted: bool, message: str) -> None:
    lock = FolderLock(tmp_path, write=held)
    with pytest.raises(UserError, match=message) as error:
        FolderLock(tmp_path, write=wanted)
    assert f"(process {os.getpid()})" in str(error.value)
    lock.release()
    FolderLock(tmp_path, write=wanted).release()


def give_way(folder: Path, lock: FolderLock) -> None:
    while not is_wanted(folder):
        time.sleep(0.01)
    lock.release()


def test_a_writer_waits_for_readers_that_give_way(tmp_path: Path) -> None:
    readers = [FolderLock(tmp_path, write=False, gives_way=True) for _ in range(2)]
    assert not is_wanted(tmp_path)
    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(give_way, tmp_path, reader) for reader in readers]
        writer = FolderLock(tmp_path, write=True)
        for one in done:
            one.result()
    assert not is_wanted(tmp_path)
    with pytest.raises(UserError, match="is being written"):
        FolderLock(tmp_path, write=False, gives_way=True)
    writer.release()


@pytest.mark.usefixtures("hasty")
def test_a_writer_does_not_wait_for_ever(tmp_path: Path) -> None:
    reader = FolderLock(tmp_path, write=False, gives_way=True)
    with pytest.raises(UserError, match="is in use"):
        FolderLock(tmp_path, write=True)
    assert not is_wanted(tmp_path)
    reader.release()


def test_a_writer_waits_a_little_for_other_readers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers = [FolderLock(tmp_path, write=False, gives_way=bool(way)) for way in (0, 1)]
    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(give_way, tmp_path, reader) for reader in readers]
        FolderLock(tmp_path, write=True).release()
        for one in done:
            one.result()
    monkeypatch.setattr(access, "BRIEF", 0.1)
    reader = FolderLock(tmp_path, write=False)
    begin = time.monotonic()
    with pytest.raises(UserError, match="is in use"):
        FolderLock(tmp_path, write=True)
    assert 0.1 <= time.monotonic() - begin < 2
    reader.release()


@pytest.mark.parametrize("note", ["", "x", str(10**30)])
def test_a_writer_that_was_killed_wants_nothing(tmp_path: Path, note: str) -> None:
    (tmp_path / WANTED).write_text(note)
    assert not is_wanted(tmp_path)


def test_notes_of_the_dead_are_forgotten(tmp_path: Path) -> None:
    process = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                             capture_output=True, text=True, check=True)  # fmt: skip
    pid = int(process.stdout)
    (tmp_path / HOLDERS).mkdir()
    for name in (f"{pid}-1", "x-1", f"{10**30}-2"):
        (tmp_path / HOLDERS / name).write_text("`lightning serve`")
    (tmp_path / HOLDERS / f"{os.getpid()}-3").write_text("`lightning serve`")
    assert holders(tmp_path) == [f"`lightning serve` (process {os.getpid()})"]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be opened: No such file"):
        FolderLock(tmp_path / "none", write=False)


def test_a_second_writer_learns_at_once_who_writes(tmp_path: Path) -> None:
    first = WriterTurn(tmp_path)
    begin = time.monotonic()
    message = rf"is being written by `\S+` \(process {os.getpid()}\), so `\S+` cannot write it now"
    with pytest.raises(UserError, match=message):
        WriterTurn(tmp_path)
    assert time.monotonic() - begin < 0.5
    FolderLock(tmp_path, write=False).release()  # readers are not asked
    first.release()
    WriterTurn(tmp_path).release()


@pytest.mark.parametrize("note", ["", "x y", f"{10**30} lightning", "12"])
def test_a_writer_with_an_unreadable_note_is_another_process(
    tmp_path: Path, note: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "_PAUSE", 0.0)
    first = WriterTurn(tmp_path)
    (tmp_path / WRITER).write_text(note)
    with pytest.raises(UserError, match="is being written by another process, so"):
        WriterTurn(tmp_path)
    first.release()


def test_of_two_writers_one_writes_and_the_other_is_refused(tmp_path: Path) -> None:
    """Both begin as readers; the refused one closes the library, and the other waits for this."""
    library(tmp_path, video("a")).close()
    path = features(tmp_path / "more.hdf5", [video("a"), video("b")])
    with (
        Library.open(tmp_path / "library") as second,
        start(tmp_path / "library", path) as first,
    ):
        assert first.stdout is not None
        assert first.stdout.readline() == "open\n"
        begin, note = time.monotonic(), second.path / WRITER
        # only looks: whoever takes the turn to try would keep the other process from it
        while not note.exists() or not note.read_text().startswith(f"{first.pid} "):
            assert time.monotonic() - begin < 60
            time.sleep(0.01)
        with pytest.raises(UserError, match=rf"being written by .*\(process {first.pid}\)"):
            second.update(path)
        assert len(second.search("dog").hits) == 1  # it goes on searching
        second.close()
        assert first.stdout.read() == "b\ndone\n"
    assert first.returncode == 0
    with Library.open(tmp_path / "library") as made:
        assert [found.video_id for found in made.videos()] == ["a", "b"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    library(tmp_path, video("a"), video("b")).close()
    return tmp_path / "library"


def session_of(folder: Path) -> Session:
    return Session(folder, read_manifest(folder), lambda: Layout(DIM, ("frames",), {}))


def test_a_session_reads_then_writes_then_reads(folder: Path) -> None:
    session = session_of(folder)
    FolderLock(folder, write=False).release()  # others may read
    with session.writing() as engine:
        with pytest.raises(UserError, match="is being written"):
            FolderLock(folder, write=False)
        engine.delete(["a"])
    FolderLock(folder, write=False).release()
    assert session.engine.count() == 1
    session.close()
    assert holders(folder) == []


def test_an_error_while_writing_leaves_the_session_open(folder: Path) -> None:
    session = session_of(folder)
    with pytest.raises(ZeroDivisionError), session.writing():
        raise ZeroDivisionError
    assert session.engine.count() == 2
    session.close()


def test_a_reader_in_the_way_leaves_it_open(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "BRIEF", 0.1)
    session = session_of(folder)
    other = FolderLock(folder, write=False)
    with pytest.raises(UserError, match="is in use"), session.writing():
        pass
    assert session.engine.count() == 2
    other.release()
    WriterTurn(folder).release()
    session.close()


def test_only_one_session_at_a_time_sets_out_to_write(folder: Path) -> None:
    first, second = (session_of(folder) for _ in range(2))
    writer = WriterTurn(folder)
    with pytest.raises(UserError, match="cannot write it now"), second.writing():
        pass
    assert second.engine.count() == 2
    second.close()
    writer.release()
    with first.writing() as engine:
        with pytest.raises(UserError, match="cannot write it now"):
            WriterTurn(folder)
        engine.delete(["a"])
    assert first.engine.count() == 1
    first.close()


def test_a_closed_session_cannot_be_used(folder: Path) -> None:
    session = session_of(folder)
    session.close()
    session.close()
    with pytest.raises(UserError, match="is closed"):
        _ = session.engine
    with pytest.raises(UserError, match="is closed"), session.writing():
        pass
    FolderLock(folder, write=True).release()


def test_a_damaged_engine_lets_go_of_the_lock(folder: Path) -> None:
    (folder / "engine" / "edge_config.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        session_of(folder)
    FolderLock(folder, write=True).release()
