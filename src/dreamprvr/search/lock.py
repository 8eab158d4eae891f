"""Many processes search a library at once; one writes it, and then nobody else has it open.

A reader that stays open for hours, as the page does, says that it gives way: a writer then leaves a
note that it wants the library, and waits for such readers to see the note and let go.
"""

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from dreamprvr.errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK, HOLDERS, WANTED = ".lock", ".holders", ".wanted"
PATIENCE = 30.0  # seconds that a writer waits for those who give way
_GIVES_WAY = "-gives-way"  # ends the name of a reader's note


class LibraryLock:
    """Holds a library's folder until `release`, or until the process ends in whatever way.

    Beside the lock lies a note of who holds it, for the message to others.

    Args:
        folder: of the library; must exist.
        write: whether to keep all others out.
        gives_way: of a reader that looks at `is_wanted` every few seconds.

    Raises:
        UserError: another process is in the way; says which, and what to do.
    """

    def __init__(self, folder: Path, write: bool, gives_way: bool = False) -> None:
        self.folder = folder
        name = f"{os.getpid()}-{id(self)}{_GIVES_WAY if gives_way else ''}"
        self._note = folder / HOLDERS / name
        try:
            self._descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise UserError(f"library {folder} cannot be opened: {error.strerror}") from None
        try:
            self._take(write)
        except BaseException:
            os.close(self._descriptor)
            raise
        with suppress(OSError):  # a note that cannot be written only makes a message poorer
            self._note.parent.mkdir(exist_ok=True)
            self._note.write_text(_command())

    def _take(self, write: bool) -> None:
        if self._try(write) or (write and self._wait()):
            return
        who = ", ".join(holders(self.folder)) or "another process"
        doing, wanted = ("in use", "written") if write else ("being written", "searched")
        raise UserError(
            f"library {self.folder} is {doing} by {who}, so it cannot be {wanted} now: "
            "wait for it, or stop it, and try again"
        )

    def _try(self, write: bool) -> bool:
        if fcntl is None:
            return True
        try:
            kind = fcntl.LOCK_EX if write else fcntl.LOCK_SH
            fcntl.flock(self._descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            return True
        return True

    def _wait(self) -> bool:
        """Whether the lock could be taken once those who give way had let go."""
        note = self.folder / WANTED
        last = time.monotonic() + PATIENCE
        with suppress(OSError):
            note.write_text(str(os.getpid()))
        try:
            while time.monotonic() < last and _notes(self.folder, _GIVES_WAY):
                time.sleep(0.05)
                if self._try(write=True):
                    return True
            return self._try(write=True)  # the last of them has just gone
        finally:
            with suppress(OSError):
                note.unlink()

    def release(self) -> None:
        """Let others in."""
        with suppress(OSError):
            self._note.unlink()
        os.close(self._descriptor)


def is_wanted(folder: Path) -> bool:
    """Whether a writer waits for the readers of a library that give way."""
    try:
        return is_running(int((folder / WANTED).read_text()))
    except (OSError, ValueError):
        return False


def holders(folder: Path) -> list[str]:
    """Who has a library open, say "`lightning serve` (process 4711)"."""
    found = []
    for note in _notes(folder):
        with suppress(OSError):
            command = note.read_text(errors="replace")[:40]
            found.append(f"`{command}` (process {note.name.partition('-')[0]})")
    return found


def _notes(folder: Path, ending: str = "") -> list[Path]:
    """Notes of processes that run; those of processes that were killed are removed."""
    found = []
    for note in sorted((folder / HOLDERS).glob(f"*-*{ending}")):
        with suppress(OSError, ValueError):
            if is_running(int(note.name.partition("-")[0])):
                found.append(note)
            else:
                note.unlink()
    return found


def is_running(pid: int) -> bool:
    """Whether there is a process of this number on this machine."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it is somebody else's
        return True
    return True


def _command() -> str:
    verb = sys.argv[1] if len(sys.argv) > 1 and sys.argv[1].isalpha() else ""
    return f"lightning {verb}" if verb else Path(sys.argv[0] or "python").name
