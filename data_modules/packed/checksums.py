"""Files written with a checksum a chunk, and checked as fast as the disk and all cores allow."""

import os
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import numpy as np

CHUNK = 4 * 2**20


class ChecksumWriter:
    """Writes a file, and computes its checksums from what is still in memory.

    Read back from the disk, a fault of the disk would become part of the checksum.

    Args:
        path: the file; it must not exist.

    Attributes:
        bytes: written so far.
        checksums: CRC-32 of each `CHUNK` bytes, complete when the file is closed.
    """

    def __init__(self, path: Path) -> None:
        self.bytes = 0
        self.checksums: list[int] = []
        self._file = path.open("xb")
        self._waiting = bytearray()

    def write(self, values: np.ndarray) -> None:
        """Append the bytes of an array."""
        self._waiting += np.ascontiguousarray(values).data.cast("B")
        self.bytes += values.nbytes
        while len(self._waiting) >= CHUNK:
            self._put(self._waiting[:CHUNK])
            del self._waiting[:CHUNK]

    def _put(self, chunk: bytearray) -> None:
        self._file.write(chunk)
        self.checksums.append(zlib.crc32(chunk))

    def __enter__(self) -> "ChecksumWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._file:  # closed whatever happens
            if self._waiting and kind is None:
                self._put(self._waiting)


def has_checksums(content: np.ndarray, checksums: Sequence[int]) -> bool:
    """Whether every chunk of a mapped file has its checksum.

    CRC-32 runs at 1.5 GB/s on a core, and the interpreter lets it run on all of them. Having been
    read through the map, the file is there for whoever reads the map next.

    Args:
        content: (bytes,) uint8.
        checksums: one for each `CHUNK` bytes.
    """
    chunks = [content[start : start + CHUNK] for start in range(0, len(content), CHUNK)]
    if len(chunks) != len(checksums):
        return False
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        found = pool.map(_crc, chunks)
        return all(now == kept for now, kept in zip(found, checksums, strict=True))


def _crc(chunk: np.ndarray) -> int:
    return zlib.crc32(chunk.data)
