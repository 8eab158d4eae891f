"""The embedded engine's folder: what goes wrong in it, in one line, and whether it has room.

The engine raises nothing but `Exception`, and where it trips over its own files a panic, which is
no `Exception` at all. Rust then writes a line or two to standard error, which cannot be kept back
without taking that stream away from every thread; `edge` at least asks for no backtrace.

The engine maps its files into memory, so a disk that is full kills the process, without an error
that could be caught: SIGBUS. So room is asked for before it writes. What other programs write at
the same time can still bring that about.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from dreamprvr.core.errors import UserError
from dreamprvr.core.files import check_free_disk

_MOUNTS = Path("/proc/self/mountinfo")
_IN_MEMORY = ("tmpfs", "ramfs")
_PANICS = "pyo3_runtime"  # module of the class of panics, which cannot be imported


@contextmanager
def plain_errors(folder: Path, what: str, remedy: str) -> Iterator[None]:
    """Turn errors and panics of a block into a UserError: "FOLDER WHAT (reason): REMEDY".

    Args:
        folder: folder of the engine.
        what: what the engine could not do, say "cannot be read".
        remedy: what the user is to do.
    """
    try:
        yield
    except UserError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__module__ != _PANICS:
            raise
        raise UserError(f"{folder} {what} ({_reason(error)}): {remedy}") from None


def reading(folder: Path) -> AbstractContextManager[None]:
    """`plain_errors` of a block that reads what should be there."""
    return plain_errors(folder, "cannot be read", "move it away and index again")


def check_writable(folder: Path) -> None:
    """Raise if any of the engine's files may not be written, which it wants even to search.

    A file that another process removes meanwhile, as the engine does when it tidies up, is no
    reason to refuse.
    """
    inside = (
        Path(parent, name)
        for parent, folders, files in os.walk(folder)
        for name in (*folders, *files)
    )
    for path in (folder, *inside):
        if not os.access(path, os.W_OK) and path.exists():
            raise UserError(
                f"{path} may not be written, and the engine opens no files that it may not write, "
                "even to search: copy the library to where you may write"
            )


def _reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def check_holes(folder: Path) -> None:
    """Raise if opening an engine would fill its disk.

    Opening reads the files whole, also where nothing was written yet; only a disk that lies in
    memory sets those places aside when they are read.
    """
    if _in_memory(folder) and (missing := _holes(folder)):
        check_free_disk(folder, missing, "opening a library on a disk in memory")


def used(folder: Path) -> int:
    """Count the bytes that a folder's files take on the disk."""
    return sum(512 * entry.st_blocks for entry in _files(folder))


def _holes(folder: Path) -> int:
    return sum(max(0, entry.st_size - 512 * entry.st_blocks) for entry in _files(folder))


def _files(folder: Path) -> list[os.stat_result]:
    """Ask the system about all files; the engine may remove one of them at any time."""
    found = []
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            if path.is_file():
                found.append(path.lstat())
    return found


def _in_memory(folder: Path) -> bool:
    """Return whether a folder lies on a disk in memory; False where the system does not say."""
    device = folder.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = _MOUNTS.read_text(errors="replace").splitlines()
    except OSError:
        return False
    for line in lines:
        place, _, kind = line.partition(" - ")
        if place.split()[2:3] == [number]:
            return kind.split()[:1] != [] and kind.split()[0] in _IN_MEMORY
    return False
