import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dreamprvr.core import locks
from dreamprvr.core.errors import UserError
from dreamprvr.core.locks import command, folder_lock, open_lock, take

HOLD = """
import sys
from pathlib import Path
from dreamprvr.core.locks import folder_lock
with folder_lock(Path(sys.argv[1]), "waiting") as alone:
    print(alone, flush=True)
    sys.stdin.readline()
"""


def hold(folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with folder_lock(tmp_path, "waiting") as alone:
        assert alone
        other = hold(tmp_path)
        assert other.stdout is not None
        assert other.stdout.readline() == "waiting\n"
        assert other.poll() is None
    with other:
        assert other.communicate("\n", timeout=60)[0] == "True\n"
    assert other.returncode == 0


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    with hold(tmp_path) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        other.kill()
    with folder_lock(tmp_path, "waiting") as alone:
        assert alone


def test_without_locks_every_writer_is_admitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, how: int) -> None:
        raise OSError("no locks here")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with folder_lock(tmp_path, "waiting") as alone:
        assert not alone
    monkeypatch.setattr(locks, "fcntl", None)
    with folder_lock(tmp_path, "waiting") as alone:
        assert not alone


def test_many_share_and_one_excludes(tmp_path: Path) -> None:
    first, second, third = (open_lock(tmp_path, "lock", write=True) for _ in range(3))
    assert take(first, exclusive=False)
    assert take(second, exclusive=False)
    assert not take(third, exclusive=True)
    os.close(first)
    os.close(second)
    assert take(third, exclusive=True)
    os.close(third)


def test_a_lock_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for folder, name in ((tmp_path / "none", "lock"), (tmp_path, "folder")):
        with pytest.raises(UserError, match=f"{folder} cannot be opened: "):
            open_lock(folder, name, write=False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["/bin/dreamprvr", "index", "a.hdf5"], "`lightning index`"),
        (["/bin/script.py", "--index"], "`script.py`"),
        ([""], "`python`"),
    ],
)
def test_command(monkeypatch: pytest.MonkeyPatch, words: list[str], said: str) -> None:
    monkeypatch.setattr(sys, "argv", words)
    assert command() == said


@pytest.mark.parametrize("error", [errno.EACCES, errno.EROFS])
def test_a_folder_that_may_only_be_read(
    tmp_path: Path, error: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers lock what there is: the file, or the folder."""
    opened = os.open

    def may_not_write(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & (os.O_RDWR | os.O_CREAT):
            raise OSError(error, os.strerror(error))
        return opened(path, flags, mode)

    monkeypatch.setattr(os, "open", may_not_write)
    for there in (False, True):
        if there:
            (tmp_path / "lock").write_text("")
        descriptor = open_lock(tmp_path, "lock", write=False)
        assert os.path.samestat(os.fstat(descriptor), (tmp_path / ("lock" * there)).stat())
        assert take(descriptor, exclusive=False)
        os.close(descriptor)
        with pytest.raises(UserError, match="cannot be opened: "):
            open_lock(tmp_path, "lock", write=True)
