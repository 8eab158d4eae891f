"""A folder of bounded size for files that can be made again."""

import hashlib
import os
import re
import stat
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from dreamprvr.core.files import atomic_path, is_running

_UNSEEN = 0.01  # share of the limit that may be written before the folder is looked at again
_LOCKS = 1024  # few enough files are made at once that hardly two share a lock
# Names of our files: finished, or being written by the process of that number.
_FILE = re.compile(r"[0-9a-f]{40}\.[a-z0-9]+")
_PARTIAL = re.compile(r"\.[0-9a-f]{40}\.[a-z0-9]+\.(\d+)\.partial")


class CacheFolder:
    """Files named by digests. Those not used for longest are deleted when the folder is full.

    Other files in the folder are never touched.

    Args:
        folder: path of the folder, which is made when needed, for this user alone.
        limit: size of all files in bytes; the newest file may exceed it.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit
        # of two threads that want the same file, the second waits and finds it
        self._locks = [threading.Lock() for _ in range(_LOCKS)]
        self._evicting = threading.Lock()
        self._written = limit  # bytes since the folder was looked at; it was not yet

    def path(self, parts: Iterable[object], ending: str) -> Path:
        """Return the path of the file made from these parts, whether it is there or not."""
        text = "\0".join(str(part) for part in parts)
        return self.folder / f"{hashlib.sha256(os.fsencode(text)).hexdigest()[:40]}.{ending}"

    def find(self, path: Path) -> Path | None:
        """Return the path if the file is there, which counts as a use of it, else None."""
        try:
            status = path.lstat()
            if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
                return None  # not ours, so it is made anew
            os.utime(path)
        except OSError:
            return None
        return path

    def make(self, path: Path, write: Callable[[Path], None]) -> Path:
        """Write a file unless it is there.

        Args:
            path: path that `CacheFolder.path` has returned.
            write: writes the content to the temporary path that it is given. It must not make
                another file, whose lock may be the same.

        Raises:
            UserError: the file cannot be written.
        """
        with self._locks[int(path.stem[:8], 16) % _LOCKS]:
            if self.find(path) is None:
                with suppress(OSError):  # what is in the way is told below
                    self.folder.parent.mkdir(parents=True, exist_ok=True)
                    self.folder.mkdir(mode=0o700, exist_ok=True)
                with atomic_path(path) as partial:
                    write(partial)
                self._evict(keep=path)
        return path

    def _evict(self, keep: Path) -> None:
        with self._evicting:
            with suppress(OSError):
                self._written += keep.stat().st_size
            if self._written < _UNSEEN * self.limit:  # looking at thousands of files takes long
                return
            self._written = 0
            files = []
            for path in self.folder.iterdir():
                with suppress(OSError):  # another process may evict as well
                    partial = _PARTIAL.fullmatch(path.name)
                    if partial is not None and not is_running(int(partial[1])):
                        path.unlink()  # its writer was killed
                    elif _FILE.fullmatch(path.name):
                        status = path.lstat()
                        if stat.S_ISREG(status.st_mode):
                            files.append((status.st_mtime_ns, status.st_size, path))
            total = sum(size for _, size, _ in files)
            for _, size, path in sorted(files):
                if total <= (1 - _UNSEEN) * self.limit:
                    break
                if path != keep:
                    with suppress(OSError):
                        path.unlink()
                    total -= size
