import errno
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from dreamprvr.atomic import atomic_path
from dreamprvr.errors import UserError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "out.bin"
    with atomic_path(target) as partial:
        assert partial.parent == target.parent  # one file system, so that it can be renamed
        partial.write_bytes(b"new")
        assert not target.exists()
    assert target.read_bytes() == b"new"
    assert names(target.parent) == ["out.bin"]


def test_an_old_file_stays_until_then(tmp_path: Path) -> None:
    target = tmp_path / "out.bin"
    target.write_bytes(b"old")
    with atomic_path(target) as partial:
        partial.write_bytes(b"new")
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), UserError("bad input")])
def test_other_errors_pass_and_leave_nothing(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "out.bin"
    target.write_bytes(b"old")
    with pytest.raises(type(error)) as caught, atomic_path(target) as partial:  # noqa: PT012
        partial.write_bytes(b"half")
        raise error
    assert caught.value is error
    assert names(tmp_path) == ["out.bin"]
    assert target.read_bytes() == b"old"


def test_no_room_left(tmp_path: Path) -> None:
    target = tmp_path / "out.bin"
    with pytest.raises(UserError) as caught, atomic_path(target) as partial:  # noqa: PT012
        partial.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert str(caught.value) == f"cannot write {target}: No space left on device"
    assert caught.value.__suppress_context__
    assert names(tmp_path) == []


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file may grow over 64 kB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_is_really_full(tmp_path: Path, full_disk: None) -> None:
    expected = pytest.raises(UserError, match=r"cannot write \S*out\.bin: File too large")
    with expected, atomic_path(tmp_path / "out.bin") as partial:
        partial.write_bytes(bytes(1 << 20))
    assert names(tmp_path) == []


def test_a_folder_stands_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "out.bin").mkdir()
    expected = pytest.raises(UserError, match=r"cannot write \S*out\.bin: ")
    with expected, atomic_path(tmp_path / "out.bin") as partial:
        partial.write_bytes(b"new")
    assert names(tmp_path) == ["out.bin"]


def test_a_file_stands_where_its_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    expected = pytest.raises(UserError, match=r"cannot write \S*out\.bin: File exists")
    with expected, atomic_path(tmp_path / "file" / "out.bin"):
        raise AssertionError("not reached")


def test_nothing_written_is_an_error(tmp_path: Path) -> None:
    expected = pytest.raises(UserError, match=r"cannot write \S*out\.bin: No such file")
    with expected, atomic_path(tmp_path / "out.bin"):
        pass
