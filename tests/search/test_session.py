from pathlib import Path

import pytest
from search.libraries import library, video

from dreamprvr.core.errors import UserError
from dreamprvr.search import lock
from dreamprvr.search.lock import LibraryLock, holders
from dreamprvr.search.manifest import read_manifest
from dreamprvr.search.session import Session
from dreamprvr.search.writer_lock import WriterLock


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    library(tmp_path, video("a"), video("b")).close()
    return tmp_path / "library"


def test_it_reads_then_writes_then_reads(folder: Path) -> None:
    session = Session(folder, read_manifest(folder))
    LibraryLock(folder, write=False).release()  # others may read
    with session.writing() as engine:
        with pytest.raises(UserError, match="is being written"):
            LibraryLock(folder, write=False)
        engine.delete(["a"])
    LibraryLock(folder, write=False).release()
    assert session.engine.count() == 1
    session.close()
    assert holders(folder) == []


def test_what_fails_while_writing_leaves_it_open(folder: Path) -> None:
    session = Session(folder, read_manifest(folder))
    with pytest.raises(ZeroDivisionError), session.writing():
        raise ZeroDivisionError
    assert session.engine.count() == 2
    session.close()


def test_a_reader_in_the_way_leaves_it_open(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BRIEF", 0.1)
    session = Session(folder, read_manifest(folder))
    other = LibraryLock(folder, write=False)
    with pytest.raises(UserError, match="is in use"), session.writing():
        pass
    assert session.engine.count() == 2
    other.release()
    WriterLock(folder).release()
    session.close()


def test_two_that_set_out_to_write(folder: Path) -> None:
    first, second = (Session(folder, read_manifest(folder)) for _ in range(2))
    writer = WriterLock(folder)
    with pytest.raises(UserError, match="cannot write it now"), second.writing():
        pass
    assert second.engine.count() == 2
    second.close()
    writer.release()
    with first.writing() as engine:
        with pytest.raises(UserError, match="cannot write it now"):
            WriterLock(folder)
        engine.delete(["a"])
    assert first.engine.count() == 1
    first.close()


def test_closed(folder: Path) -> None:
    session = Session(folder, read_manifest(folder))
    session.close()
    session.close()
    with pytest.raises(UserError, match="is closed"):
        _ = session.engine
    with pytest.raises(UserError, match="is closed"), session.writing():
        pass
    LibraryLock(folder, write=True).release()


def test_a_damaged_engine_lets_go_of_the_lock(folder: Path) -> None:
    (folder / "engine" / "edge_config.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        Session(folder, read_manifest(folder))
    LibraryLock(folder, write=True).release()
