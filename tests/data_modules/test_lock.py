import subprocess
import sys
from pathlib import Path

import pytest

from data_modules import lock
from data_modules.lock import folder_lock

HOLD = """
import sys
from pathlib import Path
from data_modules.lock import folder_lock
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
        cwd=Path(lock.__file__).parents[1],
    )


def test_one_process_at_a_time(tmp_path: Path):
    with folder_lock(tmp_path, "waiting") as alone:
        assert alone
        other = hold(tmp_path)
        assert other.stdout is not None
        assert other.stdout.readline() == "waiting\n"
        assert other.poll() is None
    with other:
        assert other.communicate("\n", timeout=60)[0] == "True\n"
    assert other.returncode == 0


def test_a_killed_process_holds_nothing(tmp_path: Path):
    with hold(tmp_path) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        other.kill()
    with folder_lock(tmp_path, "waiting") as alone:
        assert alone


def test_without_locks_nobody_is_kept_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(descriptor: int, how: int) -> None:
        raise OSError("no locks here")

    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    with folder_lock(tmp_path, "waiting") as alone:
        assert not alone
    monkeypatch.setattr(lock, "fcntl", None)
    with folder_lock(tmp_path, "waiting") as alone:
        assert not alone
