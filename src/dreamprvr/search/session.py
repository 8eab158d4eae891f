"""A library's lock and engine, open for searching, and for a while for writing."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dreamprvr.core.errors import UserError
from dreamprvr.search.engine import Engine
from dreamprvr.search.engines import is_interrupted, open_engine, repair_engine
from dreamprvr.search.lock import LibraryLock
from dreamprvr.search.manifest import Manifest
from dreamprvr.search.writer_lock import WriterLock


class Session:
    """Keeps a library open until `close`.

    Args:
        folder: of the library.
        manifest: of the library.
        gives_way: see `LibraryLock`.

    Raises:
        UserError: the engine is damaged, or another process writes the library.
    """

    def __init__(self, folder: Path, manifest: Manifest, gives_way: bool = False) -> None:
        self.folder, self.manifest, self.gives_way = folder, manifest, gives_way
        self._lock: LibraryLock | None = None
        self._engine: Engine | None = None
        self._open()

    @property
    def engine(self) -> Engine:
        """The engine; raises UserError once closed."""
        if self._engine is None:
            raise UserError(f"library {self.folder} is closed")
        return self._engine

    def close(self) -> None:
        """Let go of files and locks; again is harmless."""
        engine, self._engine = self._engine, None
        lock, self._lock = self._lock, None
        if engine is not None:
            engine.close()
        if lock is not None:
            lock.release()

    @contextmanager
    def writing(self) -> Iterator[Engine]:
        """The engine, with everybody else kept out; afterwards it is open for searching again.

        Raises:
            UserError: another process has the library open.
        """
        _ = self.engine  # a closed library is not opened by writing
        writer = WriterLock(self.folder)  # before it lets go of what it has
        try:
            self.close()
            self._lock = LibraryLock(self.folder, write=True)
            repair_engine(self.folder, self.manifest)
            self._engine = open_engine(self.folder, self.manifest)
            yield self._engine
        finally:
            try:
                self.close()
                self._open()
            finally:
                writer.release()

    def _open(self) -> None:
        self._lock = self._reading_lock()
        try:
            self._engine = open_engine(self.folder, self.manifest)
        except BaseException:
            self.close()
            raise

    def _reading_lock(self) -> LibraryLock:
        while True:
            lock = LibraryLock(self.folder, write=False, gives_way=self.gives_way)
            if not is_interrupted(self.folder, self.manifest):
                return lock
            lock.release()
            writing = LibraryLock(self.folder, write=True)
            try:
                repair_engine(self.folder, self.manifest)
            finally:
                writing.release()
