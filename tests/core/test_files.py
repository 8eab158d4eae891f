import errno
import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dreamprvr.core.errors import UserError
from dreamprvr.core.files import (
    DiskFull,
    atomic_path,
    check_free_disk,
    inside,
    is_running,
    open_regular,
    plain_errors,
    read_regular,
    refuse_links,
    remove_files,
    sync,
    write_text,
)


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


def test_a_write_without_room_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "out.bin"
    with pytest.raises(UserError) as caught, atomic_path(target) as partial:  # noqa: PT012
        partial.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert str(caught.value) == f"cannot write {target}: No space left on device; make room there"
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
    expected = pytest.raises(
        UserError, match=r"cannot write \S*out\.bin: File too large; make room"
    )
    with expected, atomic_path(tmp_path / "out.bin") as partial:
        partial.write_bytes(bytes(1 << 20))
    assert names(tmp_path) == []


def test_a_folder_with_the_name_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out.bin").mkdir()
    expected = pytest.raises(UserError, match=r"cannot write \S*out\.bin: ")
    with expected, atomic_path(tmp_path / "out.bin") as partial:
        partial.write_bytes(b"new")
    assert names(tmp_path) == ["out.bin"]


def test_a_file_with_the_name_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    expected = pytest.raises(UserError, match=r"cannot write \S*out\.bin: File exists")
    with expected, atomic_path(tmp_path / "file" / "out.bin"):
        raise AssertionError("not reached")


def test_nothing_written_is_an_error(tmp_path: Path) -> None:
    expected = pytest.raises(UserError, match=r"cannot write \S*out\.bin: No such file")
    with expected, atomic_path(tmp_path / "out.bin"):
        pass


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder with a file that nothing may change."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "kept").write_text("kept")
    (folder / "12-34").write_text("kept")
    before = {path: (path.read_bytes(), path.stat()) for path in folder.iterdir()}
    yield folder
    assert {path: path.read_bytes() for path in folder.iterdir()} == {
        path: content for path, (content, _) in before.items()
    }
    for path, (_, status) in before.items():
        assert path.stat().st_mtime_ns == status.st_mtime_ns


def dead_process() -> int:
    script = [sys.executable, "-c", "import os; print(os.getpid())"]
    return int(subprocess.run(script, capture_output=True, text=True, check=True).stdout)


def test_remains_of_killed_processes_go_and_others_stay(tmp_path: Path) -> None:
    dead = dead_process()
    stay = [".out.bin.1.partial", ".other.bin.9.partial", f".out.bin.{dead}.partial2", "out.bin"]
    for name in [*stay, f".out.bin.{dead}.partial"]:
        (tmp_path / name).write_bytes(b"")
    with atomic_path(tmp_path / "out.bin") as partial:
        partial.write_bytes(b"new")
    assert names(tmp_path) == sorted(stay)
    assert (tmp_path / "out.bin").read_bytes() == b"new"


def test_prepared_links_are_replaced_and_not_followed(tmp_path: Path, elsewhere: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    for name in ("out.bin", f".out.bin.{os.getpid()}.partial"):
        (root / name).symlink_to(elsewhere / "kept")
    os.link(elsewhere / "kept", root / "text")
    with atomic_path(root / "out.bin", root) as partial:
        partial.write_bytes(b"new")
    write_text(root / "text", "new\n", root)
    texts = {path.name: path.read_text() for path in root.iterdir()}
    assert texts == {"out.bin": "new", "text": "new\n"}
    assert not any(path.is_symlink() for path in root.iterdir())
    (root / "folder").symlink_to(elsewhere)
    with (
        pytest.raises(UserError, match="folder is a link, which is not followed"),
        atomic_path(root / "folder" / "new", root),
    ):
        raise AssertionError("not reached")


def test_a_partial_file_that_becomes_a_link_is_not_taken(tmp_path: Path, elsewhere: Path) -> None:
    expected = pytest.raises(UserError, match="is no file any more")
    with expected, atomic_path(tmp_path / "out.bin") as partial:
        partial.symlink_to(elsewhere / "kept")
    assert names(tmp_path) == ["elsewhere"]


@pytest.mark.parametrize("name", ["", ".", "..", "/etc", "a/b", "../kept", "a\0b"])
def test_names_that_lead_out_of_a_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="cannot be the name of a file in it"):
        inside(tmp_path, name)


def test_paths_inside_a_folder(tmp_path: Path, elsewhere: Path) -> None:
    root = tmp_path / "root"
    (root / "real" / "deep").mkdir(parents=True)
    (root / "file").touch()
    (tmp_path / "given").symlink_to(root)  # the user's own link
    for start in (root, tmp_path / "given"):
        assert inside(start, "real", "deep", "new") == start / "real" / "deep" / "new"
        assert inside(start, "real", "deep", kind="folder") == start / "real" / "deep"
        assert inside(start, "file") == start / "file"
    for names_, kind, message in (
        (("real",), "file", "real is not a file"),
        (("file",), "folder", "file is not a folder"),
        (("file", "x"), "file", "file is not a folder"),
    ):
        with pytest.raises(UserError, match=message):
            inside(root, *names_, kind=kind)  # type: ignore[arg-type]
    (root / "out").symlink_to(elsewhere)
    (root / "dangling").symlink_to(root / "none")
    os.mkfifo(root / "fifo")
    for name in ("out", "dangling"):
        with pytest.raises(UserError, match=f"{name} is a link, which is not followed: delete"):
            inside(root, name, "kept")
    with pytest.raises(UserError, match="fifo is neither a file nor a folder"):
        inside(root, "fifo")


def test_links_at_any_depth_are_refused(tmp_path: Path, elsewhere: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").touch()
    refuse_links(tmp_path, "a", "missing", hard=True)
    (tmp_path / "a" / "b" / "link").symlink_to(elsewhere)
    (tmp_path / "a" / "c").symlink_to(elsewhere)
    refuse_links(tmp_path, "missing")
    with pytest.raises(UserError, match="a/b/link is a link"):  # sorted, so always the same one
        refuse_links(tmp_path, "a")
    (tmp_path / "a" / "b" / "link").unlink()
    (tmp_path / "a" / "c").unlink()
    os.link(elsewhere / "kept", tmp_path / "a" / "hard")
    refuse_links(tmp_path, "a")
    with pytest.raises(UserError, match=r"a/hard has a second name elsewhere \(a hard link\)"):
        refuse_links(tmp_path, "a", hard=True)


def test_only_regular_files_are_opened(tmp_path: Path, elsewhere: Path) -> None:
    (tmp_path / "link").symlink_to(elsewhere / "kept")
    (tmp_path / "dangling").symlink_to(elsewhere / "new")
    os.link(elsewhere / "kept", tmp_path / "hard")
    os.mkfifo(tmp_path / "fifo")
    for flags in (os.O_RDONLY, os.O_RDWR | os.O_CREAT):
        for name in ("link", "dangling"):
            with pytest.raises(UserError, match=f"{name} is a link"):
                open_regular(tmp_path / name, flags)
        with pytest.raises(UserError, match="fifo is neither"):
            open_regular(tmp_path / "fifo", flags)
    with pytest.raises(IsADirectoryError):
        open_regular(elsewhere)
    with pytest.raises(UserError, match="hard has a second name"):
        open_regular(tmp_path / "hard", os.O_RDWR)
    assert read_regular(tmp_path / "hard", 3) == b"kep"
    os.close(open_regular(tmp_path / "made", os.O_RDWR | os.O_CREAT))
    assert (tmp_path / "made").exists()


def test_only_files_of_our_own_form_are_deleted(tmp_path: Path, elsewhere: Path) -> None:
    form = re.compile(r"\d+-\d+")
    folder = tmp_path / "folder"
    (folder / "3-3").mkdir(parents=True)
    (folder / "4-4").symlink_to(elsewhere / "kept")
    for name in ("1-1", "2-2", "note"):
        (folder / name).touch()
    remove_files(folder, form, keep={"2-2"})
    assert names(folder) == ["2-2", "3-3", "4-4", "note"]
    (tmp_path / "link").symlink_to(elsewhere)
    remove_files(tmp_path / "link", form)
    remove_files(tmp_path / "missing", form)


def test_running_processes() -> None:
    assert not is_running(dead_process())
    assert not is_running(10**30)
    assert is_running(os.getpid())
    assert is_running(1)


def test_check_free_disk(tmp_path: Path) -> None:
    check_free_disk(tmp_path, 1, "writing")
    with pytest.raises(DiskFull, match=r"writing needs \S+ MB of free disk, and there are \S+ MB"):
        check_free_disk(tmp_path, 2**62, "writing")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "x"), "No space left on device; make room there, then go on"),
        (OSError(errno.EDQUOT, "x"), "Disk quota exceeded; make room there, then go on"),
        (RuntimeError("failed: time = x\n, errno = 28, error message = 'x'"), "No space left"),
        (OSError("Can't write (errno = 27, error message = 'x')"), "File too large; make room"),
        (BlockingIOError(errno.EAGAIN, "x"), "f.partial is being written by another run"),
        (PermissionError(errno.EACCES, "x"), "Permission denied; change its permissions, or name"),
        (OSError(errno.EROFS, "x"), "Read-only file system; name a place on a disk that may be"),
        (NotADirectoryError(errno.ENOTDIR, "x"), "Not a directory; a file stands where a folder"),
        (IsADirectoryError(errno.EISDIR, "x"), "Is a directory; a folder stands where a file is"),
        (OSError(errno.ELOOP, "x"), "it is a link, which is not followed"),
        (RuntimeError("first\nsecond"), "f.partial: first, then go on$"),
    ],
)
def test_failures_become_one_line(tmp_path: Path, error: Exception, message: str) -> None:
    path = tmp_path / "f.partial"
    with pytest.raises(UserError, match=message) as caught, plain_errors(path, "then go on"):
        raise error
    assert "f.partial" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sync_takes_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    sync(tmp_path / "x")
    sync(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync(tmp_path / "y")
