"""Who may read and write a library: many processes search at once, or one writes alone.

A process that is to write takes three steps:

1. `WriterTurn`: only one process at a time sets out to write; the others are told so at once. The
   lock of the folder alone cannot say so, since whoever is to write has the library open for
   reading, and two such processes would each wait for the other to let go.
2. It leaves a note that it wants the library, and waits: a few seconds for readers that come and
   go, and longer for those that stay open for hours, as the page does, and give way, which means
   that they look for the note and let go.
3. `FolderLock` for writing: nobody else has the library open.

`Session` does this, and keeps the engine open.
"""

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dreamprvr.core.errors import UserError
from dreamprvr.core.files import inside, is_running, read_regular, write_note
from dreamprvr.core.locks import command, open_lock, take
from dreamprvr.search.engine.interface import Engine, Layout
from dreamprvr.search.engine.opening import is_interrupted, open_engine, repair_engine
from dreamprvr.search.manifest import HOLDERS, LOCK, WANTED, WRITER, Manifest

BRIEF = 5.0  # seconds that a writer waits for anybody
PATIENCE = 30.0  # seconds that it waits while nobody but those who give way are in the way
_GIVES_WAY = "-gives-way"  # ends the name of a reader's note
_NOTE = re.compile(r"(\d{1,20})-\d+(-gives-way)?")
_TRIES, _PAUSE = 5, 0.02  # the winner may not have said yet who it is


class FolderLock:
    """Holds a library's folder until `release`, or until the process ends in whatever way.

    Beside the lock lies a note of who holds it, for the message to others.

    Args:
        folder: folder of the library; must exist.
        write: whether to keep all others out; take a `WriterTurn` first.
        gives_way: whether this is a reader that looks at `is_wanted` every few seconds.

    Raises:
        UserError: another process is in the way; says which, and what to do.
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
        # a note that cannot be written only makes a message poorer
        with suppress(OSError, UserError):
            inside(folder, HOLDERS, kind="folder").mkdir(exist_ok=True)
            write_note(self._note, command())

    def _take(self, write: bool) -> None:
        if take(self._descriptor, write) or (write and self._wait()):
            return
        who = ", ".join(holders(self.folder)) or "another process"
        doing, wanted = ("in use", "write") if write else ("being written", "open")
        raise UserError(
            f"library {self.folder} is {doing} by {who}, so {command()} cannot {wanted} it now: "
            "wait for it, or stop it, and try again"
        )

    def _wait(self) -> bool:
        """Wait until the others have let go; return whether the lock could be taken."""
        note = self.folder / WANTED
        begin = time.monotonic()
        with suppress(OSError, UserError):
            write_note(note, str(os.getpid()))
        try:
            while time.monotonic() - begin < self._patience():
                time.sleep(0.05)
                if take(self._descriptor, exclusive=True):
                    return True
            return take(self._descriptor, exclusive=True)  # the last of them has just gone
        finally:
            with suppress(OSError):
                note.unlink()

    def _patience(self) -> float:
        notes = _notes(self.folder)
        polite = [note for note in notes if note.name.endswith(_GIVES_WAY)]
        return PATIENCE if notes and len(polite) == len(notes) else BRIEF

    def release(self) -> None:
        """Let others in."""
        with suppress(OSError):
            self._note.unlink()
        os.close(self._descriptor)


def is_wanted(folder: Path) -> bool:
    """Return whether a writer waits for the readers of a library that give way."""
    try:
        return is_running(int(read_regular(folder / WANTED, 20)))
    except (OSError, UserError, ValueError):
        return False


def holders(folder: Path) -> list[str]:
    """List who has a library open, such as "`lightning serve` (process 4711)"."""
    found = []
    for note in _notes(folder):
        with suppress(OSError, UserError):
            text = read_regular(note, 40).decode(errors="replace")
            found.append(f"{text} (process {note.name.partition('-')[0]})")
    return found


def _notes(folder: Path) -> list[Path]:
    """List the notes of processes that run; those of processes that were killed are removed."""
    found = []
    with suppress(OSError, UserError):
        for note in sorted(inside(folder, HOLDERS, kind="folder").iterdir()):
            if (match := _NOTE.fullmatch(note.name)) is None:
                continue
            if is_running(int(match[1])):
                found.append(note)
            else:
                note.unlink(missing_ok=True)  # of a link, the link itself
    return found


class WriterTurn:
    """The turn to write, held from before a writer stops reading until it reads again.

    Args:
        folder: folder of the library; must exist.

    Raises:
        UserError: another process writes, or is about to; says which.
    """

    def __init__(self, folder: Path) -> None:
        self._descriptor = open_lock(folder, WRITER, write=True)
        if not take(self._descriptor, exclusive=True):
            os.close(self._descriptor)
            raise UserError(
                f"library {folder} is being written by {_writer(folder)}, so {command()} cannot "
                "write it now: wait for it, or stop it, and try again"
            )
        with suppress(OSError):  # a note that cannot be written only makes a message poorer
            os.truncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()} {command()}".encode(), 0)

    def release(self) -> None:
        """Let another one write."""
        os.close(self._descriptor)


def _writer(folder: Path) -> str:
    """Name who writes, such as "`lightning index` (process 4711)"."""
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
        layout: vectors of its videos.
        gives_way: see `FolderLock`.

    Raises:
        UserError: the engine is damaged, or another process writes the library.
    """

    def __init__(
        self, folder: Path, manifest: Manifest, layout: Layout, gives_way: bool = False
    ) -> None:
        self.folder, self.manifest, self.layout = folder, manifest, layout
        self.gives_way = gives_way
        self._lock: FolderLock | None = None
        self._engine: Engine | None = None
        self._open()

    @property
    def engine(self) -> Engine:
        """Give the engine; raises UserError once closed."""
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
        """Give the engine, with everybody else kept out; afterwards it is open for searching.

        Raises:
            UserError: another process has the library open.
        """
        _ = self.engine  # a closed library is not opened by writing
        writer = WriterTurn(self.folder)  # before it lets go of what it has
        try:
            self.close()
            self._lock = FolderLock(self.folder, write=True)
            repair_engine(self.folder, self.manifest, self.layout)
            self._engine = open_engine(self.folder, self.manifest, self.layout)
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
            self._engine = open_engine(self.folder, self.manifest, self.layout)
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
                repair_engine(self.folder, self.manifest, self.layout)
            finally:
                writing.release()
