import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from data_modules import disk
from data_modules.disk import check_room, plain_errors, reserve, sync
from dreamprvr.errors import UserError


def test_check_room(tmp_path: Path):
    check_room(tmp_path / "x", 1)
    with pytest.raises(OSError, match="No space left"):
        check_room(tmp_path / "x", 2**62)


def test_reserve_extends_but_never_cuts(tmp_path: Path):
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    reserve(path, 2)
    assert path.read_bytes() == b"abc"
    if hasattr(os, "posix_fallocate"):
        reserve(path, 10_000)
        assert path.stat().st_size == 10_000
        assert path.read_bytes()[:4] == b"abc\0"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_reserve_fails_where_there_is_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
):
    def full(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    (tmp_path / "x").touch()
    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(OSError, match=os.strerror(number)):
        reserve(tmp_path / "x", 10)


def test_reserve_does_without_where_unsupported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def unsupported(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "unsupported")

    (tmp_path / "x").touch()
    monkeypatch.setattr(os, "posix_fallocate", unsupported, raising=False)
    reserve(tmp_path / "x", 10)
    monkeypatch.delattr(os, "posix_fallocate")
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: SimpleNamespace(free=9))
    reserve(tmp_path / "x", 9)
    with pytest.raises(OSError, match="No space left"):
        reserve(tmp_path / "x", 10)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "x"), r"no room left on the disk \(No space left on device\)"),
        (OSError(errno.EDQUOT, "x"), "no room left on the disk"),
        (RuntimeError("write failed: time = x\n, errno = 28, error message = 'x'"), "no room left"),
        (OSError("Can't write (errno = 27, error message = 'x')"), "no room left"),
        (BlockingIOError(errno.EAGAIN, "x"), "being written by another run"),
        (PermissionError(errno.EACCES, "x"), "cannot be written: Permission denied"),
        (RuntimeError("first\nsecond"), "cannot be written: first$"),
    ],
)
def test_failures_become_one_line(tmp_path: Path, error: Exception, message: str):
    with pytest.raises(UserError, match=message) as caught, plain_errors(tmp_path / "f.partial"):
        raise error
    assert "f.partial" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sync_takes_files_and_folders(tmp_path: Path):
    (tmp_path / "x").touch()
    sync(tmp_path / "x")
    sync(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync(tmp_path / "y")
