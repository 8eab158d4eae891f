"""The folder of what is finished before the output is: HDF5 is not safe against a crash.

A process that is killed while it writes may leave an HDF5 file that cannot be opened. So what is
finished goes to small files of its own in `<output>.parts/`, each put there under its name when it
is whole; in the end they become one file that takes the output's place in one step. A run that
was killed leaves them to the next one.
"""

import os
import re
from contextlib import suppress
from pathlib import Path

from dreamprvr.core.errors import UserError
from dreamprvr.core.files import inside, plain_errors, refuse_links, remove_files
from dreamprvr.core.locks import open_lock, take

LOCK, JOINED = ".lock", "joined"
_PART = re.compile(r"([0-9a-f]{32}|\d{6,20})\.hdf5")
_REMAINS = re.compile(rf"{JOINED}|\..+\.\d+\.partial")


class PartsFolder:
    """`<output>.parts/`, held by one process at a time.

    Args:
        output: the file that the parts become.
        verb: of the command line, which writes it.
    """

    def __init__(self, output: Path, verb: str) -> None:
        self.output, self.verb = output, verb
        self.path = output.with_name(f"{output.name}.parts")
        self._lock: int | None = None

    @property
    def joined(self) -> Path:
        """Where to write what will take the output's place."""
        return self.path / JOINED

    def files(self) -> list[Path]:
        """The parts, sorted."""
        if not self.path.is_dir():
            return []
        return sorted(path for path in self.path.iterdir() if _PART.fullmatch(path.name))

    def hold(self) -> None:
        """Make the folder, keep other processes out, and tidy up what a killed one left.

        Raises:
            UserError: another process holds it, it cannot be written, or there is a link in it.
        """
        refuse_links(self.path.parent, self.path.name)
        inside(self.path.parent, self.path.name, kind="folder")
        with plain_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        self._lock = open_lock(self.path, LOCK)
        try:
            self._keep_others_out()
        except BaseException:
            self.release()
            raise
        remove_files(self.path, _REMAINS)

    def finish(self) -> None:
        """Put what was joined in the output's place, and drop the parts."""
        with plain_errors(self.output):
            os.replace(self.joined, self.output)
        remove_files(self.path, _PART)

    def release(self) -> None:
        """Let go; the folder stays only if there are parts in it."""
        if self._lock is None:
            return
        if not self.files():
            (self.path / LOCK).unlink(missing_ok=True)
        os.close(self._lock)
        self._lock = None
        with suppress(OSError):
            self.path.rmdir()

    def _keep_others_out(self) -> None:
        held = self._lock is not None and take(self._lock, exclusive=True)
        # without the file, the one that held it has just tidied up
        if not held or not (self.path / LOCK).exists():
            raise UserError(
                f"another `lightning {self.verb}` is writing {self.output}: wait for it, or give "
                "another -o"
            )
