"""Access to a library: many processes search its last finished state while one writes the next.

1. A writer takes the `WriterTurn`. Only one process has it, and any other gets an error at once.
2. It writes a `Draft` beside the engine that is searched. Readers do not notice.
3. At the end it writes `library.json`, which then names the new state. Whoever opens the library
   from now on finds this one; whoever has it open goes on with the old state, and opens the new
   one when `is_current` returns False.

A reader locks the folder of the state that it searches. Folders of older states are removed as soon
as nobody has them locked: by the writer, by the last reader that closes one, or by whoever opens
the library next. If a writer is killed, the next process that opens the library completes its
draft, so that no video is lost that was written. If that cannot be done, say on a full disk, the
last finished state is searched.

`Session` takes these steps, and keeps the engine open.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from dreamprvr.core.errors import UserError
from dreamprvr.core.files import is_running, read_regular
from dreamprvr.core.locks import command, open_lock, take
from dreamprvr.search.engine.draft import Draft
from dreamprvr.search.engine.interface import Engine, Layout
from dreamprvr.search.engine.opening import open_engine, repair_engine
from dreamprvr.search.manifest import EDGE, NAME, WRITER, Manifest, engines_in, read_manifest

LOCK = ".lock"  # file in the folder of an engine
_TRIES, _PAUSE = 5, 0.02  # the process that took the turn may not have written its note yet
_MOVES = 50  # most tries to lock the state that is the last finished one just then


class WriterTurn:
    """The right to write a library, until `release`; also a context manager.

    Args:
        folder: folder of the library; must exist.

    Raises:
        UserError: another process writes; the message names it.
    """

    def __init__(self, folder: Path) -> None:
        self._descriptor = open_lock(folder, WRITER, write=True)
        if not take(self._descriptor, exclusive=True):
            os.close(self._descriptor)
            raise UserError(
                f"library {folder} is being written by {_writer(folder)}, so {command()} cannot "
                "write it now: wait for it, or stop it, and try again"
            )
        with suppress(OSError):  # without it, only the error message of other processes says less
            os.truncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()} {command()}".encode(), 0)

    def __enter__(self) -> "WriterTurn":
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()

    def release(self) -> None:
        """Let another process write."""
        os.close(self._descriptor)


def _writer(folder: Path) -> str:
    """Name the process that writes a library, such as "`lightning index` (process 4711)"."""
    for _ in range(_TRIES):
        with suppress(OSError, UserError, ValueError):
            text = read_regular(folder / WRITER, 100).decode(errors="replace")
            pid, _, name = text.partition(" ")
            if name and is_running(int(pid)):
                return f"{name[:40]} (process {int(pid)})"
        time.sleep(_PAUSE)
    return "another process"


def remove_old(folder: Path) -> None:
    """Remove the engines of states that are no longer searched.

    Args:
        folder: folder of a library.
    """
    with suppress(UserError):
        current = read_manifest(folder).state
        for name, state in engines_in(folder).items():
            if state < current:
                descriptor = open_lock(folder / name, LOCK)
                if take(descriptor, exclusive=True):
                    shutil.rmtree(folder / name, ignore_errors=True)
                os.close(descriptor)


class Session:
    """A library's engine, open for searching until `close`, and for a while for writing.

    Args:
        folder: folder of the library.
        manifest: manifest of the library.
        find_layout: returns the vectors of a video; called when vectors are read or written.

    Attributes:
        manifest: manifest of the state that is open.

    Raises:
        UserError: the engine is damaged, or the library has been made anew.
    """

    def __init__(self, folder: Path, manifest: Manifest, find_layout: Callable[[], Layout]) -> None:
        self.folder, self.manifest, self.find_layout = folder, manifest, find_layout
        self._lock: int | None = None
        self._sign: Any = None
        self._engine: Engine | None = None
        self._open()

    @property
    def engine(self) -> Engine:
        """Return the engine; raise a UserError if the library is closed."""
        if self._engine is None:
            raise UserError(f"library {self.folder} is closed")
        return self._engine

    def is_current(self) -> bool:
        """Return whether the state that is open is the last finished one."""
        return _sign(self.folder) == self._sign

    def close(self) -> None:
        """Release files and locks; a second call does nothing."""
        engine, self._engine = self._engine, None
        lock, self._lock = self._lock, None
        if engine is not None:
            engine.close()
        if lock is not None:
            os.close(lock)
            if not self.is_current():
                remove_old(self.folder)

    @contextmanager
    def writing(self) -> Iterator[Draft]:
        """Yield a draft of the next state; at the end it becomes the state that is searched.

        After an error in the block, what was written until then does so.

        Raises:
            UserError: another process writes the library.
        """
        _ = self.engine  # raises an error if the library is closed
        with WriterTurn(self.folder):
            self._complete()
            if not self.is_current():
                self._open()
            draft = Draft(self.folder, self.manifest, self.engine, self.find_layout)
            try:
                yield draft
            finally:
                self._finish(draft)

    def _finish(self, draft: Draft) -> None:
        draft.close()
        if draft.manifest != self.manifest:
            repair_engine(self.folder, draft.manifest, self.find_layout)  # after an error
            draft.manifest.write(self.folder)
            self.manifest = draft.manifest
            self._open()

    def _complete(self) -> None:
        """Finish the draft of a writer that was killed; the writer's turn must be taken."""
        manifest = read_manifest(self.folder)
        following = manifest.next()
        if manifest.engine == EDGE and following.engine_in(self.folder).exists():
            repair_engine(self.folder, following, self.find_layout)
            replace(following, videos_of=following.state).write(self.folder)
            remove_old(self.folder)

    def _open(self) -> None:
        """Open the last finished state in place of the one that is open."""
        if self.manifest.next().engine_in(self.folder).exists():
            # it is being written just now, or cannot be completed
            with suppress(UserError), WriterTurn(self.folder):
                self._complete()
        lock, sign, manifest = self._locked()
        try:
            engine = open_engine(self.folder, manifest, self.find_layout)
        except BaseException:
            if lock is not None:
                os.close(lock)
            raise
        self.close()
        self._lock, self._sign, self.manifest, self._engine = lock, sign, manifest, engine
        remove_old(self.folder)  # a writer that was killed may have left one

    def _locked(self) -> tuple[int | None, Any, Manifest]:
        """Lock the last finished state, so that it is not removed.

        Returns:
            The descriptor of the lock, None for a server; the sign of `library.json`; its content.
        """
        for _ in range(_MOVES):
            sign, manifest = _sign(self.folder), read_manifest(self.folder)
            if not manifest.same_model(self.manifest):
                raise UserError(f"library {self.folder} has been made anew: open it again")
            if manifest.engine != EDGE:
                return None, sign, manifest
            try:
                lock = open_lock(manifest.engine_in(self.folder), LOCK, write=False)
            except UserError:
                if _sign(self.folder) == sign:
                    raise
                continue  # a writer has just finished the next state, and has removed this one
            if take(lock, exclusive=False) and _sign(self.folder) == sign:
                return lock, sign, manifest
            os.close(lock)
            time.sleep(_PAUSE)
        raise UserError(f"library {self.folder} cannot be opened: its files are locked; try again")


def _sign(folder: Path) -> Any:
    """Return what changes with `library.json`, which is replaced and never changed; None if gone.

    Args:
        folder: folder of the library.
    """
    with suppress(OSError):
        status = (folder / NAME).stat()
        return status.st_ino, status.st_mtime_ns, status.st_size
    return None
