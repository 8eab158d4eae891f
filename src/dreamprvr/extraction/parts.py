"""The folder of what is finished before the output is: HDF5 is not safe against a crash.

A process that is killed while it writes may leave an HDF5 file that cannot be opened. So what is
finished goes to small files of its own in `<output>.parts/`, each put there under its name when it
is whole; in the end they become one file that takes the output's place in one step. A run that
was killed leaves them to the next one.
"""

from contextlib import suppress
from pathlib import Path
from typing import IO

from dreamprvr.errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK, JOINED = ".lock", "joined"


class PartsFolder:
    """`<output>.parts/`, held by one process at a time.

    Args:
        output: the file that the parts become.
        verb: of the command line, which writes it.
    """

    def __init__(self, output: Path, verb: str) -> None:
        self.output, self.verb = output, verb
        self.path = output.with_name(f"{output.name}.parts")
        self._lock: IO[bytes] | None = None

    @property
    def joined(self) -> Path:
        """Where to write what will take the output's place."""
        return self.path / JOINED

    def files(self) -> list[Path]:
        """The parts, sorted."""
        return sorted(self.path.glob("*.hdf5"))

    def hold(self) -> None:
        """Make the folder, keep other processes out, and tidy up what a killed one left.

        Raises:
            UserError: another process holds it, or it cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = (self.path / LOCK).open("ab")
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror}") from None
        try:
            self._keep_others_out()
        except BaseException:
            self.release()
            raise
        for path in [*self.path.glob(".*.partial"), self.joined]:
            path.unlink(missing_ok=True)

    def release(self) -> None:
        """Let go; the folder stays only if there are parts in it."""
        if self._lock is None:
            return
        if not self.files():
            (self.path / LOCK).unlink(missing_ok=True)
        self._lock.close()
        self._lock = None
        with suppress(OSError):
            self.path.rmdir()

    def _keep_others_out(self) -> None:
        if fcntl is None or self._lock is None:
            return
        try:
            fcntl.flock(self._lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise self._taken() from None
        except OSError:
            pass  # a file system without locks
        if not (self.path / LOCK).exists():  # the one that held it has just tidied up
            raise self._taken()

    def _taken(self) -> UserError:
        return UserError(
            f"another `lightning {self.verb}` is writing {self.output}: wait for it, or give "
            "another -o"
        )
