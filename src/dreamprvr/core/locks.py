"""Lock files by the operating system, for one writer or many readers at a time.

The system releases a lock when its process ends, even if it is killed. The file that is locked
stays. The package `filelock` is not used, since its locks cannot be shared by readers, and since it
writes marks that a killed process leaves where the file system has no locks.
"""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dreamprvr.core.errors import UserError
from dreamprvr.core.files import open_regular, reason

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def open_lock(folder: Path, name: str, write: bool = True) -> int:
    """Open a file to lock; it is made if it is missing.

    Args:
        folder: path of the folder that the lock protects; it must exist.
        name: name of the file.
        write: if False, a file that may only be read will do, or the folder itself if there is
            no file.

    Returns:
        A file descriptor.

    Raises:
        UserError: the folder is missing, or may not be written or read, or the file is a link.
    """
    path = folder / name
    try:
        return open_regular(path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        refused = error
    if not write and refused.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        try:
            return open_regular(path)
        except OSError:
            pass  # then the folder is locked
        try:
            return os.open(folder, os.O_RDONLY)
        except OSError as error:
            refused = error
    raise UserError(f"{folder} cannot be opened: {reason(refused)}") from None


def take(descriptor: int, exclusive: bool) -> bool:
    """Lock a file until its descriptor is closed, without waiting.

    Args:
        descriptor: descriptor of the file, see `open_lock`.
        exclusive: True for the lock of a writer, False for one that readers share.

    Returns:
        False if another process holds the file. On a system without locks this is never so.
    """
    return _lock(descriptor, exclusive) is not False


@contextmanager
def folder_lock(folder: Path, waiting: str) -> Iterator[bool]:
    """Lock a folder for this process alone, after waiting for another one that has locked it.

    Args:
        folder: path of the folder, which must exist; an empty file `.lock` stays in it.
        waiting: line to print if there is another process to wait for.

    Yields:
        True if the folder is locked; False on a file system without locks.

    Raises:
        UserError: the folder may not be written.
    """
    descriptor = open_lock(folder, ".lock")
    try:
        held = _lock(descriptor, exclusive=True)
        if held is False:
            print(waiting, flush=True)
            held = _lock(descriptor, exclusive=True, wait=True)
        yield held is True
    finally:
        os.close(descriptor)


def _lock(descriptor: int, exclusive: bool, wait: bool = False) -> bool | None:
    """Lock a file; return True if that was done, False if another process holds it, else None."""
    if fcntl is None:
        return None
    how = (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB)
    try:
        fcntl.flock(descriptor, how)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return None
    return True


def command() -> str:
    """Name the command of this process for messages, as "`lightning index`"."""
    verb = sys.argv[1] if len(sys.argv) > 1 and sys.argv[1].isalpha() else ""
    return f"`lightning {verb}`" if verb else f"`{Path(sys.argv[0] or 'python').name}`"
