"""Many processes search a library at once; one writes it, and then nobody else has it open."""

import os
import sys
from contextlib import suppress
from pathlib import Path

from dreamprvr.errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK, HOLDERS = ".lock", ".holders"


class LibraryLock:
    """Holds a library's folder until `release`, or until the process ends in whatever way.

    Beside the lock lies a note of who holds it, for the message to others.

    Args:
        folder: of the library; must exist.
        write: whether to keep all others out.

    Raises:
        UserError: another process is in the way; says which, and what to do.
    """

    def __init__(self, folder: Path, write: bool) -> None:
        self.folder = folder
        self._note = folder / HOLDERS / f"{os.getpid()}-{id(self)}"
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
        if fcntl is None:
            return
        try:
            kind = fcntl.LOCK_EX if write else fcntl.LOCK_SH
            fcntl.flock(self._descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            who = ", ".join(holders(self.folder)) or "another process"
            doing, wanted = ("in use", "written") if write else ("being written", "searched")
            raise UserError(
                f"library {self.folder} is {doing} by {who}, so it cannot be {wanted} now: "
                "wait for it, or stop it, and try again"
            ) from None
        except OSError:  # a file system without locks
            return

    def release(self) -> None:
        """Let others in."""
        with suppress(OSError):
            self._note.unlink()
        os.close(self._descriptor)


def holders(folder: Path) -> list[str]:
    """Who has a library open, say "`lightning serve` (process 4711)"."""
    found = []
    for note in sorted((folder / HOLDERS).glob("*-*")):
        pid = note.name.partition("-")[0]
        with suppress(OSError, ValueError):
            if is_running(int(pid)):
                command = note.read_text(errors="replace")[:40]
                found.append(f"`{command}` (process {pid})")
            else:
                note.unlink()  # of a process that was killed
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
