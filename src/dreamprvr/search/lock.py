"""Many processes search a library at once; one writes it, and then nobody else has it open.

A writer leaves a note that it wants the library, and waits: a few seconds for readers that come
and go, and longer for those that stay open for hours, as the page does, and give way, which means
that they look for the note and let go.
"""

import os
import re
import time
from contextlib import suppress
from pathlib import Path

from dreamprvr.core.errors import UserError
from dreamprvr.core.files import inside, is_running, read_regular, write_note
from dreamprvr.core.locks import command, open_lock, take
from dreamprvr.search.manifest import HOLDERS, LOCK, WANTED

BRIEF = 5.0  # seconds that a writer waits for anybody
PATIENCE = 30.0  # seconds that it waits while nobody but those who give way are in the way
_GIVES_WAY = "-gives-way"  # ends the name of a reader's note
_NOTE = re.compile(r"(\d{1,20})-\d+(-gives-way)?")


class LibraryLock:
    """Holds a library's folder until `release`, or until the process ends in whatever way.

    Beside the lock lies a note of who holds it, for the message to others.

    Args:
        folder: of the library; must exist.
        write: whether to keep all others out; see also `WriterLock`.
        gives_way: of a reader that looks at `is_wanted` every few seconds.

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
        """Whether the lock could be taken once the others had let go."""
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
    """Whether a writer waits for the readers of a library that give way."""
    try:
        return is_running(int(read_regular(folder / WANTED, 20)))
    except (OSError, UserError, ValueError):
        return False


def holders(folder: Path) -> list[str]:
    """Who has a library open, say "`lightning serve` (process 4711)"."""
    found = []
    for note in _notes(folder):
        with suppress(OSError, UserError):
            text = read_regular(note, 40).decode(errors="replace")
            found.append(f"{text} (process {note.name.partition('-')[0]})")
    return found


def _notes(folder: Path) -> list[Path]:
    """Notes of processes that run; those of processes that were killed are removed."""
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
