import os
import subprocess
import sys
from pathlib import Path

import pytest

from dreamprvr.errors import UserError
from dreamprvr.search.lock import HOLDERS, LibraryLock, holders, is_running


def test_many_readers(tmp_path: Path) -> None:
    first, second = LibraryLock(tmp_path, write=False), LibraryLock(tmp_path, write=False)
    assert len(holders(tmp_path)) == 2
    first.release()
    second.release()
    assert holders(tmp_path) == []


@pytest.mark.parametrize(
    ("held", "wanted", "message"),
    [
        (True, True, "is in use by .* so it cannot be written now"),
        (False, True, "is in use by .* so it cannot be written now"),
        (True, False, "is being written by .* so it cannot be searched now"),
    ],
)
def test_a_writer_is_alone(tmp_path: Path, held: bool, wanted: bool, message: str) -> None:
    lock = LibraryLock(tmp_path, write=held)
    with pytest.raises(UserError, match=message) as error:
        LibraryLock(tmp_path, write=wanted)
    assert f"(process {os.getpid()})" in str(error.value)
    lock.release()
    LibraryLock(tmp_path, write=wanted).release()


def test_notes_of_the_dead_are_forgotten(tmp_path: Path) -> None:
    process = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                             capture_output=True, text=True, check=True)  # fmt: skip
    pid = int(process.stdout)
    assert not is_running(pid)
    (tmp_path / HOLDERS).mkdir()
    for name in (f"{pid}-1", "x-1", f"{10**30}-2"):
        (tmp_path / HOLDERS / name).write_text("lightning serve")
    (tmp_path / HOLDERS / f"{os.getpid()}-3").write_text("lightning serve")
    assert holders(tmp_path) == [f"`lightning serve` (process {os.getpid()})"]


def test_running() -> None:
    assert is_running(os.getpid())
    assert is_running(1)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be opened: No such file"):
        LibraryLock(tmp_path / "none", write=False)
