"""One process at a time: the others wait."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def folder_lock(folder: Path, waiting: str) -> Iterator[bool]:
    """Hold a folder for this process alone, waiting while another one does.

    The system lets go of it when the process ends, in whatever way. An empty file `.lock` stays.

    Args:
        folder: must exist.
        waiting: printed if there is another process to wait for.

    Yields:
        Whether the folder is locked: some file systems cannot, and then nobody is kept out.

    Raises:
        OSError: nothing can be written to the folder.
    """
    with (folder / ".lock").open("ab") as file:
        yield _lock(file.fileno(), waiting)


def _lock(descriptor: int, waiting: str) -> bool:
    if fcntl is None:
        return False
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(waiting, flush=True)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError:  # a file system without locks
        return False
    return True
