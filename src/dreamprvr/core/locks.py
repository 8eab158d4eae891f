"""Locks of the system on files, for one writer or many readers at a time.

The system lets go of a lock when the process ends, in whatever way. The file that is locked stays.
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
    """Open a file to lock, which is made if it is missing.

    Args:
        folder: that is to be held; must exist.
        name: of the file.
        write: False also takes a file that may only be read; without one it is the folder's.

    Returns:
        A descriptor.

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
            pass  # a folder can be locked as well
        try:
            return os.open(folder, os.O_RDONLY)
        except OSError as error:
            refused = error
    raise UserError(f"{folder} cannot be opened: {reason(refused)}") from None


def take(descriptor: int, exclusive: bool) -> bool:
    """Lock a file until its descriptor is closed; False if another process is in the way.

    Where the file system or the system has no locks, nobody is in the way.
    """
    return _lock(descriptor, exclusive) is not False


@contextmanager
def folder_lock(folder: Path, waiting: str) -> Iterator[bool]:
    """Hold a folder for this process alone, waiting while another one does.

    Args:
        folder: must exist; an empty file `.lock` stays in it.
        waiting: printed if there is another process to wait for.

    Yields:
        True if the folder is locked. Some file systems cannot, and then nobody is kept out.

    Raises:
        UserError: nothing can be written to the folder.
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
    """True if it is locked, False if another process is in the way, None without locks."""
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
    """Name this process, say "`lightning index`"."""
    verb = sys.argv[1] if len(sys.argv) > 1 and sys.argv[1].isalpha() else ""
    return f"`lightning {verb}`" if verb else f"`{Path(sys.argv[0] or 'python').name}`"
