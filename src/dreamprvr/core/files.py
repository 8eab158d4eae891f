"""Write and delete files: completely or not at all, never through a link, with one-line errors.

A folder (a library, a run, a data set) may come from a stranger. Nothing in it may make this
program write, empty, create or delete a file elsewhere. So below such a folder no link is followed,
a file with a second name is not written in place, and files are deleted only if their names have a
form that this program gives. The folder that the user names may be a link itself.
"""

import errno
import os
import re
import shutil
import stat
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from dreamprvr.core.errors import UserError

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
MB = 1_000_000
MARGIN = 32 * MB  # room for what a write needs besides its content, and to leave on the disk
_BUSY = (errno.EAGAIN, errno.EWOULDBLOCK)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_ADVICE = {
    **dict.fromkeys(DISK_FULL, "make room there"),
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM), "change its permissions, or name a place you may write to"
    ),
    errno.EROFS: "name a place on a disk that may be written",
    errno.ENOTDIR: "a file stands where a folder is needed",
    errno.EEXIST: "a file stands where a folder is needed",
    errno.EISDIR: "a folder stands where a file is needed",
    errno.ELOOP: "it is a link, which is not followed",
    errno.ENAMETOOLONG: "give a shorter name",
}

_MANY = 1000  # files in a folder, above which a process searches it only once
_searched: set[str] = set()  # larger folders that were searched

Kind = Literal["file", "folder"]


class DiskFull(UserError):
    """The disk has too little room for the work."""


def number_of(error: BaseException) -> int | None:
    """Return the system's number of an error, also if HDF5 gives it only in its text; else None."""
    number = getattr(error, "errno", None)
    if number is None and (match := re.search(r"errno = (\d+)", str(error))):
        number = int(match[1])  # h5py raises some failed writes as RuntimeError
    return number


def reason(error: BaseException) -> str:
    """Say in one line why a file could not be opened or written, and what to do if that is clear.

    Args:
        error: an OSError, or an error that HDF5 raises in its place.
    """
    number = number_of(error)
    cause = os.strerror(number) if number else str(error).partition("\n")[0]
    return f"{cause}; {_ADVICE[number]}" if number in _ADVICE else cause


@contextmanager
def plain_errors(path: Path, after: str = "") -> Iterator[None]:
    """Turn errors of the system or of HDF5 while a file is written into one line.

    Args:
        path: path of the file or folder.
        after: further advice for the user, such as "then run the same command again".

    Raises:
        UserError: in place of an OSError or a RuntimeError.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        if number_of(error) in _BUSY:
            raise UserError(f"{path} is being written by another run: let it finish") from None
        end = f", {after}" if after else ""
        raise UserError(f"cannot write {path}: {reason(error)}{end}") from None


# Links


def refuse_links(root: Path, *names: str, hard: bool = False) -> None:
    """Refuse a folder if one of the named entries is a link, or holds one at any depth.

    Args:
        root: path of the folder, which may be a link itself and need not exist.
        names: names of entries of the folder; folders among them are searched completely.
        hard: also refuse files with more than one name, since they will be changed in place.

    Raises:
        UserError: there is a link, or something that is neither a file nor a folder; the message
            names the first one.
    """
    for name in names:
        path = root / name
        if (status := _status(path)) is None:
            continue
        _refuse_odd(path, status)
        if stat.S_ISDIR(status.st_mode):
            try:
                entries = sorted(os.listdir(path))
            except FileNotFoundError:  # another process has just removed it
                continue
            except OSError as error:
                raise UserError(f"{path} cannot be read: {reason(error)}") from None
            refuse_links(path, *entries, hard=hard)
        elif hard:
            _refuse_shared(path, status)


def inside(root: Path, *names: str, kind: Kind = "file") -> Path:
    """Return the path of a file or folder below a folder, after checking that no link leads out.

    Args:
        root: path of the upper folder, which may be a link itself and need not exist.
        names: names of the folders on the way, and of the file or folder itself.
        kind: whether it must be a file or a folder, if it exists.

    Raises:
        UserError: a name cannot be one, there is a link on the way, or it is of another kind.
    """
    path = root
    for number, name in enumerate(names, 1):
        if name in ("", ".", "..") or "/" in name or "\0" in name or os.sep in name:
            raise UserError(f"{root}: {name!r} cannot be the name of a file in it")
        path = path / name
        if (status := _status(path)) is None:
            continue
        _refuse_odd(path, status)
        expected = "folder" if number < len(names) else kind
        if stat.S_ISDIR(status.st_mode) != (expected == "folder"):
            raise UserError(f"{path} is not a {expected}: move it away")
    return path


def open_regular(path: Path, flags: int = os.O_RDONLY) -> int:
    """Open a regular file, never through a link and without waiting for a pipe.

    Args:
        path: path of the file.
        flags: flags of `os.open`. With `os.O_CREAT` the file is made if it is missing.

    Returns:
        A file descriptor.

    Raises:
        UserError: it is a link or not a regular file; or it has a second name and would be written.
        OSError: it cannot be opened.
    """
    if (status := _status(path)) is not None:
        _refuse_odd(path, status)
    descriptor = os.open(path, flags | _NO_LINK | getattr(os, "O_NONBLOCK", 0), 0o666)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if flags & (os.O_WRONLY | os.O_RDWR):
            _refuse_shared(path, status)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_regular(path: Path, limit: int) -> bytes:
    """Read at most `limit` bytes of a file; it raises as `open_regular` does."""
    with os.fdopen(open_regular(path), "rb") as file:
        return file.read(limit)


def _status(path: Path) -> os.stat_result | None:
    """Return the status of a file or folder, for a link its own; None if there is nothing."""
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {reason(error)}") from None


def _refuse_odd(path: Path, status: os.stat_result) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise UserError(f"{path} is a link, which is not followed: delete it")
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise UserError(f"{path} is neither a file nor a folder: delete it")


def _refuse_shared(path: Path, status: os.stat_result) -> None:
    if status.st_nlink > 1:
        raise UserError(
            f"{path} has a second name elsewhere (a hard link), so it is not changed in place: "
            "put a copy of it in its place"
        )


# Writing


@contextmanager
def atomic_path(target: Path, root: Path | None = None) -> Iterator[Path]:
    """Yield a temporary file beside the target, which replaces the target if the block succeeds.

    Temporary files that killed processes have left are deleted. If the target is a link, the link
    itself is replaced, and the file that it leads to stays as it is.

    Args:
        target: path of the file to write; its folder is made.
        root: path of a folder above the target, below which no link is followed; None if all
            folders above the target are the user's own.

    Raises:
        UserError: the file cannot be written (disk full, no permission), or there is a link on
            the way.
    """
    if root is not None:
        inside(root, *target.relative_to(root).parts[:-1], kind="folder")
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            partial.unlink()  # writing would follow a link of this name
        remove_partials(target)
        yield partial
        if not stat.S_ISREG(partial.lstat().st_mode):
            raise UserError(f"cannot write {target}: {partial} is no file any more")
        os.replace(partial, target)
    except OSError as error:
        raise UserError(f"cannot write {target}: {reason(error)}") from None
    finally:
        with suppress(OSError):  # there may be none, or its folder may be no folder
            partial.unlink()


def write_text(path: Path, text: str, root: Path | None = None) -> None:
    """Write a small text file in UTF-8 by `atomic_path`, with its arguments and errors."""
    with atomic_path(path, root) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def check_free_disk(folder: Path, needed: int, doing: str) -> None:
    """Refuse to begin work for which the disk has no room.

    Args:
        folder: path of the folder that will be written; it must exist.
        needed: number of bytes that will be written; `MARGIN` is added.
        doing: name of the work for the message, such as "writing these videos".

    Raises:
        DiskFull: the message gives the needed and the free space.
    """
    free, required = shutil.disk_usage(folder).free, needed + MARGIN
    if free < required:
        raise DiskFull(
            f"{folder}: {doing} needs {-(-required // MB):,} MB of free disk, and there are "
            f"{free // MB:,} MB; what was there is kept: make room and run the same command again"
        )


def sync(path: Path) -> None:
    """Wait until all that was written to a file or folder is on the disk."""
    if os.name == "nt":  # Windows cannot flush a folder or a read-only descriptor
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# Deleting


def remove_files(folder: Path, form: re.Pattern[str], keep: Container[str] = ()) -> None:
    """Delete the regular files of a folder whose names have a given form.

    A folder that is a link, missing or unreadable is left as it is, and so is a file that cannot be
    deleted.

    Args:
        folder: path of the folder; its subfolders are not searched.
        form: pattern that matches the whole name of a file to delete.
        keep: names of files that stay.
    """
    with suppress(OSError):
        if not stat.S_ISDIR(folder.lstat().st_mode):
            return
        with os.scandir(folder) as entries:
            for entry in entries:
                if form.fullmatch(entry.name) and entry.name not in keep:
                    with suppress(OSError):
                        if entry.is_file(follow_symlinks=False):
                            os.unlink(entry.path)


def remove_partials(target: Path) -> None:
    """Delete the temporary files of `atomic_path` that killed processes have left.

    A folder of more than `_MANY` files is searched only once by a process.

    Args:
        target: path of the file that `atomic_path` writes.
    """
    folder = os.fspath(target.parent)
    if folder in _searched:
        return
    form = re.compile(rf"\.{re.escape(target.name)}\.(\d+)\.partial")
    count = 0
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            count += 1
            match = form.fullmatch(entry.name)
            if match and not is_running(int(match[1])) and entry.is_file(follow_symlinks=False):
                with suppress(OSError):
                    os.unlink(entry.path)
    if count > _MANY:
        _searched.add(folder)


def is_running(pid: int) -> bool:
    """Check that there is a process of this number on this machine."""
    if os.name == "nt":  # on Windows os.kill would end it
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it belongs to another user
        return True
    return True
