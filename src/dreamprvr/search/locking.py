"""Locks of the system on files, and who holds them."""

import errno
import os
import sys
from pathlib import Path

from dreamprvr.errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def open_lock(folder: Path, name: str, write: bool) -> int:
    """A descriptor of a file to lock.

    Args:
        folder: of the library.
        name: of the file, which is made.
        write: False also takes a file that may only be read; without one it is the folder's.

    Raises:
        UserError: the folder is missing, or may not be written or read.
    """
    path = folder / name
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        refused = error
    if not write and refused.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        for place in (path, folder):  # a folder can be locked as well
            try:
                return os.open(place, os.O_RDONLY)
            except OSError as error:
                refused = error
    raise UserError(f"library {folder} cannot be opened: {refused.strerror}") from None


def take(descriptor: int, exclusive: bool) -> bool:
    """Lock a file until its descriptor is closed; False if another process is in the way."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def is_running(pid: int) -> bool:
    """Whether there is a process of this number on this machine."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it is somebody else's
        return True
    return True


def command() -> str:
    """What this process is, say "`lightning index`"."""
    verb = sys.argv[1] if len(sys.argv) > 1 and sys.argv[1].isalpha() else ""
    return f"`lightning {verb}`" if verb else f"`{Path(sys.argv[0] or 'python').name}`"
