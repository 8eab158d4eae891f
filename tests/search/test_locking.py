import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dreamprvr.errors import UserError
from dreamprvr.search.locking import command, is_running, open_lock, take


def test_many_share_and_one_excludes(tmp_path: Path) -> None:
    first, second, third = (open_lock(tmp_path, "lock", write=True) for _ in range(3))
    assert take(first, exclusive=False)
    assert take(second, exclusive=False)
    assert not take(third, exclusive=True)
    os.close(first)
    os.close(second)
    assert take(third, exclusive=True)
    os.close(third)


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for folder, name in ((tmp_path / "none", "lock"), (tmp_path, "folder")):
        with pytest.raises(UserError, match=f"library {folder} cannot be opened: "):
            open_lock(folder, name, write=False)


def test_running() -> None:
    script = [sys.executable, "-c", "import os; print(os.getpid())"]
    process = subprocess.run(script, capture_output=True, text=True, check=True)
    assert not is_running(int(process.stdout))
    assert not is_running(10**30)
    assert is_running(os.getpid())
    assert is_running(1)


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
