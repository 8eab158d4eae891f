"""Locks of a library: many processes may search it at once, or one process writes it alone.

A process that wants to write takes three steps:

1. It takes the `WriterTurn`. Only one process has it, and any other gets an error at once. The lock
   of the folder is not enough: both processes have the library open for reading, and each would
   wait for the other to close it.
2. It leaves a note that it wants the library, and waits for the readers. It waits a few seconds for
   short searches. It waits longer for programs that stay open for hours, such as the web page:
   these look for the note and close the library when they find it.
3. It takes the `FolderLock` for writing. Now no other process has the library open.

`Session` takes these steps, and keeps the engine open.
"""

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dreamprvr.core.errors import UserError
from dreamprvr.core.files import inside, is_running, read_regular, write_note
from dreamprvr.core.locks import command, open_lock, take
from dreamprvr.search.engine.interface import Engine, Layout
from dreamprvr.search.engine.opening import is_interrupted, open_engine, repair_engine
from dreamprvr.search.manifest import HOLDERS, LOCK, WANTED, WRITER, Manifest

BRIEF = 5.0  # seconds that a writer waits for readers of any kind
PATIENCE = 30.0  # seconds that a writer waits if all readers give way
_GIVES_WAY = "-gives-way"  # ends the name of a reader's note
_NOTE = re.compile(r"(\d{1,20})-\d+(-gives-way)?")
_TRIES, _PAUSE = 5, 0.02  # the process that took the turn may not have written its note yet


class FolderLock:
    """A lock of a library's folder, held until `release` or until the process ends.

    A note beside the lock names the process that holds it, for the error message of other
    processes.

    Args:
        folder: folder of the library; must exist.
        write: whether to keep all other processes out; take a `WriterTurn` first.
        gives_way: whether this is a reader that looks at `is_wanted` every few seconds.

    Raises:
        UserError: another process holds the lock; the message names it and says what to do.
    """

    def __init__(self, folder: Path, write: bool, gives_way: bool = False) -> None:
        self.folder = folder
        name = f"{os.getpid()}-{id(self)}{_GIVES_WAY if gives_way else ''}"
        self._note = folder / HOLDERS / name
        self._descriptor = open_lock(folder, LOCK, write)
        try:
            self._take(write)
        except BaseException:
            os.close(self._descriptor)
            raise
        # without the note, only the error message of other processes says less
        with suppress(OSError, UserError):
            inside(folder, HOLDERS, kind="folder").mkdir(exist_ok=True)
            write_note(self._note, command())

    def _take(self, write: bool) -> None:
        if take(self._descriptor, write) or (write and self._wait()):
            return
        who = ", ".join(holders(self.folder)) or "another process"
        doing, action = ("in use", "write") if write else ("being written", "open")
        raise UserError(
            f"library {self.folder} is {doing} by {who}, so {command()} cannot {action} it now: "
            "wait for it, or stop it, and try again"
        )

    def _wait(self) -> bool:
        """Wait until the readers have closed the library; return whether the lock was taken."""
        note = self.folder / WANTED
        begin = time.monotonic()
        with suppress(OSError, UserError):
            write_note(note, str(os.getpid()))
        try:
            while time.monotonic() - begin < self._patience():
                time.sleep(0.05)
                if take(self._descriptor, exclusive=True):
                    return True
            return take(self._descriptor, exclusive=True)  # the last reader may have just closed
        finally:
            with suppress(OSError):
                note.unlink()

    def _patience(self) -> float:
        notes = _notes(self.folder)
        giving_way = [note for note in notes if note.name.endswith(_GIVES_WAY)]
        return PATIENCE if notes and len(giving_way) == len(notes) else BRIEF

    def release(self) -> None:
        """Let other processes open the library."""
        with suppress(OSError):
            self._note.unlink()
        os.close(self._descriptor)


def is_wanted(folder: Path) -> bool:
    """Return whether a process waits to write the library in `folder`."""
    try:
        return is_running(int(read_regular(folder / WANTED, 20)))
    except (OSError, UserError, ValueError):
        return False


def holders(folder: Path) -> list[str]:
    """List the processes that have a library open, such as "`lightning serve` (process 4711)"."""
    processes = []
    for note in _notes(folder):
        with suppress(OSError, UserError):
            text = read_regular(note, 40).decode(errors="replace")
            processes.append(f"{text} (process {note.name.partition('-')[0]})")
    return processes


def _notes(folder: Path) -> list[Path]:
    """List the notes of running processes, and remove the notes of killed ones."""
    notes = []
    with suppress(OSError, UserError):
        for note in sorted(inside(folder, HOLDERS, kind="folder").iterdir()):
            if (match := _NOTE.fullmatch(note.name)) is None:
                continue
            if is_running(int(match[1])):
                notes.append(note)
            else:
                note.unlink(missing_ok=True)  # if it is a link, this removes the link, not the file
    return notes


class WriterTurn:
    """The right to be the next to write a library.

    A writer takes it before it closes the library for reading, and holds it until the library is
    open for reading again.

    Args:
        folder: folder of the library; must exist.

    Raises:
        UserError: another process writes, or is about to; the message names it.
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


class Session:
    """A library's lock and engine, open for searching until `close`, and for a while for writing.

    Args:
        folder: folder of the library.
        manifest: manifest of the library.
        find_layout: returns the vectors of a video; called when vectors are read or written.
        gives_way: whether this process looks at `is_wanted` every few seconds, and closes.

    Raises:
        UserError: the engine is damaged, or another process writes the library.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        find_layout: Callable[[], Layout],
        gives_way: bool = False,
    ) -> None:
        self.folder, self.manifest, self.find_layout = folder, manifest, find_layout
        self.gives_way = gives_way
        self._lock: FolderLock | None = None
        self._engine: Engine | None = None
        self._open()

    @property
    def engine(self) -> Engine:
        """Return the engine; raise a UserError if the library is closed."""
        if self._engine is None:
            raise UserError(f"library {self.folder} is closed")
        return self._engine

    def close(self) -> None:
        """Release files and locks; a second call does nothing."""
        engine, self._engine = self._engine, None
        lock, self._lock = self._lock, None
        if engine is not None:
            engine.close()
        if lock is not None:
            lock.release()

    @contextmanager
    def writing(self) -> Iterator[Engine]:
        """Lock the library for writing and yield its engine; reopen it for searching afterwards.

        Raises:
            UserError: another process has the library open.
        """
        _ = self.engine  # raises an error if the library is closed
        writer = WriterTurn(self.folder)  # taken before the lock for reading is released
        try:
            self.close()
            self._lock = FolderLock(self.folder, write=True)
            repair_engine(self.folder, self.manifest, self.find_layout)
            self._engine = open_engine(self.folder, self.manifest, self.find_layout)
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
            self._engine = open_engine(self.folder, self.manifest, self.find_layout)
        except BaseException:
            self.close()
            raise

    def _reading_lock(self) -> FolderLock:
        while True:
            lock = FolderLock(self.folder, write=False, gives_way=self.gives_way)
            if not is_interrupted(self.folder, self.manifest):
                return lock
            lock.release()
            writing = FolderLock(self.folder, write=True)
            try:
                repair_engine(self.folder, self.manifest, self.find_layout)
            finally:
                writing.release()
