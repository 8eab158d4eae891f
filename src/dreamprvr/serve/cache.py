"""A bounded folder of files that can be made again."""

import hashlib
import os
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from dreamprvr.atomic import atomic_path

_LOCKS = 64


class CacheFolder:
    """Files by digest; the ones that were not used for longest go when there are too many bytes.

    Args:
        folder: made when first written to.
        limit: bytes; one file may exceed it for as long as it is the newest.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit
        # two threads that want one file: the second waits and finds it
        self._locks = [threading.Lock() for _ in range(_LOCKS)]
        self._evicting = threading.Lock()

    def path(self, parts: Iterable[object], ending: str) -> Path:
        """Where the file made from these parts lies, or would lie."""
        text = "\0".join(str(part) for part in parts)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:40]}.{ending}"

    def find(self, path: Path) -> Path | None:
        """The path if the file is there; it then counts as used now."""
        try:
            os.utime(path)
        except OSError:
            return None
        return path

    def make(self, path: Path, write: Callable[[Path], None]) -> Path:
        """Write a file unless it is there.

        Args:
            path: from `path`.
            write: fills the temporary file that it is given.

        Raises:
            UserError: the file cannot be written.
        """
        with self._locks[int(path.stem[:8], 16) % _LOCKS]:
            if self.find(path) is None:
                with atomic_path(path) as partial:
                    write(partial)
                self._evict(keep=path)
        return path

    def _evict(self, keep: Path) -> None:
        with self._evicting:
            files = []
            for path in self.folder.iterdir():
                with suppress(OSError):  # another process may evict as well
                    status = path.stat()
                    files.append((status.st_mtime_ns, status.st_size, path))
            total = sum(size for _, size, _ in files)
            for _, size, path in sorted(files):
                if total <= self.limit:
                    break
                # a file that is being written is hidden, and not ours to remove
                if path != keep and not path.name.startswith("."):
                    with suppress(OSError):
                        path.unlink()
                    total -= size
