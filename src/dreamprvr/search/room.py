"""Room on the disk, asked before the embedded engine writes.

It maps its files into memory, so a disk that is full kills the process, without an error that
could be caught: SIGBUS. What other programs write at the same time can still bring that about.
"""

import os
from pathlib import Path

from dreamprvr.core.files import check_free_disk

_MOUNTS = Path("/proc/self/mountinfo")
_IN_MEMORY = ("tmpfs", "ramfs")


def check_holes(folder: Path) -> None:
    """Raise if opening an engine would fill its disk.

    Opening reads the files whole, also where nothing was written yet; only a disk that lies in
    memory sets those places aside when they are read.
    """
    if _in_memory(folder) and (missing := _holes(folder)):
        check_free_disk(folder, missing, "opening a library on a disk in memory")


def used(folder: Path) -> int:
    """Bytes that a folder's files take."""
    return sum(512 * entry.st_blocks for entry in _files(folder))


def _holes(folder: Path) -> int:
    return sum(max(0, entry.st_size - 512 * entry.st_blocks) for entry in _files(folder))


def _files(folder: Path) -> list[os.stat_result]:
    return [path.lstat() for path in folder.rglob("*") if path.is_file()]


def _in_memory(folder: Path) -> bool:
    """Whether a folder lies on a disk in memory; False where the system does not say."""
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
