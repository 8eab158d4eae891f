"""Write and delete files: whole or not at all, never through a link, with errors in one line.

A folder may come from a stranger: a library, a run, a data set. Whatever lies in it must not make
us write, empty, create or delete anything outside of it. So below such a folder no link is
followed, nothing is written in place that has a second name, and only files are deleted whose
names have a form of our own. The folder that the user names may be a link itself.
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

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
MB = 1_000_000
MARGIN = 32 * MB  # what a write takes beside what is written, and the disk should have left
_BUSY = (errno.EAGAIN, errno.EWOULDBLOCK)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_ADVICE = {
    **dict.fromkeys(NO_ROOM, "make room there"),
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

_MANY = 1000  # files of a folder, above which it is not searched at every write
_searched: set[str] = set()  # such folders

Kind = Literal["file", "folder"]


class NoRoom(UserError):
    """The disk has too little room for what is to be done."""


def number_of(error: BaseException) -> int | None:
    """The system's number of an error, also where HDF5 says it in the text alone."""
    number = getattr(error, "errno", None)
    if number is None and (match := re.search(r"errno = (\d+)", str(error))):
        number = int(match[1])  # h5py raises some failed writes as RuntimeError
    return number


def reason(error: BaseException) -> str:
    """One line of why a file could not be opened or written, with what to do where that is clear.

    Args:
        error: an OSError, or what HDF5 raises in place of one.
    """
    number = number_of(error)
    said = os.strerror(number) if number else str(error).partition("\n")[0]
    return f"{said}; {_ADVICE[number]}" if number in _ADVICE else said


@contextmanager
def plain_errors(path: Path, after: str = "") -> Iterator[None]:
    """Turn what the system or HDF5 says of a failed write into one line.

    Args:
        path: what is written.
        after: what else to tell the user, say "then run the same command again".

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
    """Refuse a folder in which one of our names is a link, or leads to one at any depth.

    Args:
        root: a folder, which may be a link itself; it need not be there.
        names: of entries of the folder; folders among them are searched whole.
        hard: refuse files of more than one name too, since they are to be changed in place.

    Raises:
        UserError: names the first link, or thing that is neither a file nor a folder.
    """
    for name in names:
        path = root / name
        if (status := _status(path)) is None:
            continue
        _refuse_odd(path, status)
        if stat.S_ISDIR(status.st_mode):
            try:
                found = sorted(os.listdir(path))
            except OSError as error:
                raise UserError(f"{path} cannot be read: {reason(error)}") from None
            refuse_links(path, *found, hard=hard)
        elif hard:
            _refuse_shared(path, status)


def inside(root: Path, *names: str, kind: Kind = "file") -> Path:
    """Give the path of something below a folder, which no link may lead out of that folder.

    Args:
        root: a folder, which may be a link itself; it need not be there.
        names: of the folders on the way, and of the thing; one component each.
        kind: of the thing, if it is there at all.

    Raises:
        UserError: a name is none, something on the way is a link, or the thing is of another kind.
    """
    path = root
    for number, name in enumerate(names, 1):
        if name in ("", ".", "..") or "/" in name or "\0" in name or os.sep in name:
            raise UserError(f"{root}: {name!r} cannot be the name of a file in it")
        path = path / name
        if (status := _status(path)) is None:
            continue
        _refuse_odd(path, status)
        wanted = "folder" if number < len(names) else kind
        if stat.S_ISDIR(status.st_mode) != (wanted == "folder"):
            raise UserError(f"{path} is not a {wanted}: move it away")
    return path


def open_regular(path: Path, flags: int = os.O_RDONLY) -> int:
    """Open a regular file, not through a link, without waiting.

    Args:
        path: of the file.
        flags: of `os.open`. With `os.O_CREAT` the file is made if it is missing.

    Returns:
        A descriptor.

    Raises:
        UserError: it is a link or no regular file, or is to be written and has a second name.
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
    """The first `limit` bytes of a file that may be a stranger's; errors as of `open_regular`."""
    with os.fdopen(open_regular(path), "rb") as file:
        return file.read(limit)


def _status(path: Path) -> os.stat_result | None:
    """The status of what has this name, of a link its own; None if there is nothing."""
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
    """Give a temporary sibling to write, which takes the target's place if the block succeeds.

    Siblings that killed processes have left are removed. A link in the target's place is replaced
    itself; what it leads to stays as it is.

    Args:
        target: where the file is to be; its folder is made.
        root: a folder above the target, below which no link is followed; None if all folders
            above are the user's own.

    Raises:
        UserError: the file cannot be written (no room, no permission), or a link is in the way.
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
    """Write a small text file in UTF-8 as `atomic_path` does, with its arguments and errors."""
    with atomic_path(path, root) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def write_note(path: Path, text: str) -> None:
    """Write a few bytes to a new file, in place of what has its name; OSError if that fails."""
    with suppress(FileNotFoundError):
        path.unlink()  # it may be a link, or have a second name
    with os.fdopen(open_regular(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
        file.write(text.encode())


def check_room(folder: Path, needed: int, doing: str) -> None:
    """Refuse to begin what the disk has no room for.

    Args:
        folder: that is written; must exist.
        needed: bytes, without `MARGIN`.
        doing: what needs them, say "writing these videos".

    Raises:
        NoRoom: says how much is needed, and how much there is.
    """
    free, wanted = shutil.disk_usage(folder).free, needed + MARGIN
    if free < wanted:
        raise NoRoom(
            f"{folder}: {doing} needs {-(-wanted // MB):,} MB of free disk, and there are "
            f"{free // MB:,} MB; what was there is kept: make room and run the same command again"
        )


def reserve(path: Path, size: int) -> None:
    """Have the file system set aside `size` bytes for a file, or fail with an OSError.

    HDF5 cannot recover from a write that fails: it leaves a file that it does not read any more,
    and may crash on closing it. So it must never come to that.
    """
    if not hasattr(os, "posix_fallocate"):  # macOS, Windows
        if shutil.disk_usage(path.parent).free < size - path.stat().st_size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return
    descriptor = open_regular(path, os.O_RDWR)
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise
    finally:
        os.close(descriptor)


def sync(path: Path) -> None:
    """Have all that was written to a file or folder on the disk before going on."""
    if os.name == "nt":  # flushing a folder or a read-only descriptor is not possible there
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# Deleting


def remove_files(folder: Path, form: re.Pattern[str], keep: Container[str] = ()) -> None:
    """Delete the regular files of a folder whose whole name has a form of our own.

    A folder that is a link, missing or unreadable is left as it is; so is a file that cannot be
    deleted.

    Args:
        folder: that is searched, not its subfolders.
        form: matches the names.
        keep: names that stay.
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
    """Delete what killed processes left of a file that `atomic_path` writes.

    A folder of very many files is searched once by a process.
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
    """Whether there is a process of this number on this machine."""
    if os.name == "nt":  # there os.kill would end it
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it is somebody else's
        return True
    return True
