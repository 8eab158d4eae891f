"""Errors of the embedded engine as one line, and checks of its folder and of free disk space.

The engine raises plain `Exception`, and panics on damaged files; the class of a panic is no
subclass of `Exception`. Rust then writes a line or two to standard error. Hiding them would close
that stream for every thread, so they stay; `edge` only turns the backtrace off.

The engine maps its files into memory. If the disk is full, the system kills the process (SIGBUS),
and no error can be caught. Free space is therefore checked before each write. A program that fills
the disk at the same moment can still cause this.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from dreamprvr.core.errors import UserError
from dreamprvr.core.files import check_free_disk, open_regular, sync

_MOUNTS = Path("/proc/self/mountinfo")
_IN_MEMORY = ("tmpfs", "ramfs")
_BLOCK = 2**16  # bytes; a block of zeros is not written
_PANICS = "pyo3_runtime"  # module of the class of panics, which cannot be imported


@contextmanager
def plain_errors(folder: Path, failure: str, remedy: str) -> Iterator[None]:
    """Turn errors and panics of a block into a UserError: "FOLDER WHAT (reason): REMEDY".

    Args:
        folder: folder of the engine.
        failure: the failure, say "cannot be read".
        remedy: advice for the user.
    """
    try:
        yield
    except UserError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__module__ != _PANICS:
            raise
        raise UserError(f"{folder} {failure} ({_reason(error)}): {remedy}") from None


def reading(folder: Path) -> AbstractContextManager[None]:
    """Turn errors and panics of a block that reads the engine's files into a UserError."""
    return plain_errors(folder, "cannot be read", "move it away and index again")


def check_writable(folder: Path) -> None:
    """Raise if any of the engine's files may not be written; the engine needs that to search too.

    A file that another process removes meanwhile is no error: the engine removes files when it
    tidies up.
    """
    inside = (
        Path(parent, name)
        for parent, folders, files in os.walk(folder)
        for name in (*folders, *files)
    )
    for path in (folder, *inside):
        if not os.access(path, os.W_OK) and path.exists():
            raise UserError(
                f"{path} may not be written, and the engine needs to write its files even to "
                "search: copy the library to a place where you may write"
            )


def _reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def check_holes(folder: Path) -> None:
    """Raise if opening an engine would fill its disk.

    Opening reads whole files, with the places that were never written (holes). On a disk in memory,
    such as tmpfs, reading a hole takes space.
    """
    if _in_memory(folder) and (missing := _holes(folder)):
        check_free_disk(folder, missing, "opening a library on a disk in memory")


def copy_files(source: Path, target: Path) -> None:
    """Copy an engine's folder to a new one, and wait until the copy is on the disk.

    Blocks of zeros become holes, as most of an engine's files are. Other processes may have the
    engine open for searching: they change no content, but may replace or remove small files.

    Args:
        source: folder of the engine.
        target: path of the copy, which must not exist.
    """
    for parent, folders, files in os.walk(source):
        folders.sort()
        place = target / Path(parent).relative_to(source)
        place.mkdir()
        for name in sorted(files):
            with suppress(FileNotFoundError):
                _copy_file(Path(parent, name), place / name)
        sync(place)


def _copy_file(source: Path, target: Path) -> None:
    with os.fdopen(open_regular(source), "rb") as reading, target.open("xb") as writing:
        size = 0
        while block := reading.read(_BLOCK):
            if block != bytes(len(block)):
                writing.seek(size)
                writing.write(block)
            size += len(block)
        writing.truncate(size)
        writing.flush()
        os.fsync(writing.fileno())


def used(folder: Path) -> int:
    """Count the bytes that a folder's files take on the disk."""
    return sum(512 * entry.st_blocks for entry in _files(folder))


def _holes(folder: Path) -> int:
    return sum(max(0, entry.st_size - 512 * entry.st_blocks) for entry in _files(folder))


def _files(folder: Path) -> list[os.stat_result]:
    """Return the status of all files in a folder; the engine may remove a file at any time."""
    statuses = []
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            if path.is_file():
                statuses.append(path.lstat())
    return statuses


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
