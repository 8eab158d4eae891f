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
