"""Writing large files: room for them, durability, and failures in one line."""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dreamprvr.errors import UserError

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def check_room(path: Path, needed: int) -> None:
    """Fail with an OSError if the disk of a file has fewer than `needed` bytes left."""
    if shutil.disk_usage(path.parent).free < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def reserve(path: Path, size: int) -> None:
    """Have the file system set aside `size` bytes for the file, or fail with an OSError.

    HDF5 cannot recover from a write that fails: it leaves a file that it does not read any more,
    and may crash on closing it. So it must never come to that.
    """
    if not hasattr(os, "posix_fallocate"):  # macOS, Windows
        return check_room(path, size - path.stat().st_size)
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno in _NO_ROOM:
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


@contextmanager
def plain_errors(path: Path) -> Iterator[None]:
    """Turn what the system or HDF5 says of a failed write into one line."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        number = getattr(error, "errno", None)
        if number is None and (match := re.search(r"errno = (\d+)", str(error))):
            number = int(match[1])  # h5py raises some failed writes as RuntimeError
        if number in _NO_ROOM:
            raise UserError(
                f"{path}: no room left on the disk ({os.strerror(number)}). What is done is "
                "kept: make room and run the same command again"
            ) from None
        if number in (errno.EAGAIN, errno.EWOULDBLOCK):
            raise UserError(f"{path} is being written by another run: let it finish") from None
        reason = os.strerror(number) if number else str(error).partition("\n")[0]
        raise UserError(f"{path} cannot be written: {reason}") from None
