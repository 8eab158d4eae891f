import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dreamprvr.core.errors import UserError
from dreamprvr.search import lock as lock_module
from dreamprvr.search.lock import LibraryLock, holders, is_wanted
from dreamprvr.search.manifest import HOLDERS, WANTED


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that waits for nobody."""
    monkeypatch.setattr(lock_module, "BRIEF", 0.1)
    monkeypatch.setattr(lock_module, "PATIENCE", 0.2)


def test_many_readers(tmp_path: Path) -> None:
    first, second = LibraryLock(tmp_path, write=False), LibraryLock(tmp_path, write=False)
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
    lock = LibraryLock(tmp_path, write=held)
    with pytest.raises(UserError, match=message) as error:
        LibraryLock(tmp_path, write=wanted)
    assert f"(process {os.getpid()})" in str(error.value)
    lock.release()
    LibraryLock(tmp_path, write=wanted).release()


def give_way(folder: Path, lock: LibraryLock) -> None:
    while not is_wanted(folder):
        time.sleep(0.01)
    lock.release()


def test_a_writer_waits_for_readers_that_give_way(tmp_path: Path) -> None:
    readers = [LibraryLock(tmp_path, write=False, gives_way=True) for _ in range(2)]
    assert not is_wanted(tmp_path)
    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(give_way, tmp_path, reader) for reader in readers]
        writer = LibraryLock(tmp_path, write=True)
        for one in done:
            one.result()
    assert not is_wanted(tmp_path)
    with pytest.raises(UserError, match="is being written"):
        LibraryLock(tmp_path, write=False, gives_way=True)
    writer.release()


@pytest.mark.usefixtures("hasty")
def test_a_writer_does_not_wait_for_ever(tmp_path: Path) -> None:
    reader = LibraryLock(tmp_path, write=False, gives_way=True)
    with pytest.raises(UserError, match="is in use"):
        LibraryLock(tmp_path, write=True)
    assert not is_wanted(tmp_path)
    reader.release()


def test_a_writer_waits_a_little_for_other_readers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers = [LibraryLock(tmp_path, write=False, gives_way=bool(way)) for way in (0, 1)]
    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(give_way, tmp_path, reader) for reader in readers]
        LibraryLock(tmp_path, write=True).release()
        for one in done:
            one.result()
    monkeypatch.setattr(lock_module, "BRIEF", 0.1)
    reader = LibraryLock(tmp_path, write=False)
    begin = time.monotonic()
    with pytest.raises(UserError, match="is in use"):
        LibraryLock(tmp_path, write=True)
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
        LibraryLock(tmp_path / "none", write=False)
