"""One process at a time sets out to write a library; the others are told so at once.

The lock of the folder alone cannot say so: whoever is to write has the library open for reading,
and two such processes would each wait for the other to let go.
"""

import os
import time
from contextlib import suppress
from pathlib import Path

from dreamprvr.core.errors import UserError
from dreamprvr.core.files import is_running, read_regular
from dreamprvr.core.locks import command, open_lock, take
from dreamprvr.search.manifest import WRITER

_TRIES, _PAUSE = 5, 0.02  # the winner may not have said yet who it is


class WriterLock:
    """Held from before a writer lets go of its lock as a reader, until it has one again.

    Args:
        folder: of the library; must exist.

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
    """Who writes, say "`lightning index` (process 4711)"."""
    for _ in range(_TRIES):
        with suppress(OSError, UserError, ValueError):
            text = read_regular(folder / WRITER, 100).decode(errors="replace")
            pid, _, name = text.partition(" ")
            if name and is_running(int(pid)):
                return f"{name[:40]} (process {int(pid)})"
        time.sleep(_PAUSE)
    return "another process"
