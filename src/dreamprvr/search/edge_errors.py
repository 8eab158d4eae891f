"""What goes wrong in the embedded engine, in one line.

The engine raises nothing but `Exception`, and where it trips over its own files a panic, which is
no `Exception` at all. Rust then writes a line or two to standard error, which cannot be kept back
without taking that stream away from every thread; `edge_config` at least asks for no backtrace.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from dreamprvr.core.errors import UserError

_PANICS = "pyo3_runtime"  # module of the class of panics, which cannot be imported


@contextmanager
def plain_errors(folder: Path, what: str, remedy: str) -> Iterator[None]:
    """Turn errors and panics of a block into a UserError: "FOLDER WHAT (reason): REMEDY".

    Args:
        folder: of the engine.
        what: say "cannot be read".
        remedy: what to do.
    """
    try:
        yield
    except UserError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__module__ != _PANICS:
            raise
        raise UserError(f"{folder} {what} ({_reason(error)}): {remedy}") from None


def reading(folder: Path) -> AbstractContextManager[None]:
    """`plain_errors` of a block that reads what should be there."""
    return plain_errors(folder, "cannot be read", "move it away and index again")


def check_writable(folder: Path) -> None:
    """Raise if any of the engine's files may not be written, which it wants even to search.

    A file that another process removes meanwhile, as the engine does when it tidies up, is no
    reason to refuse.
    """
    inside = (
        Path(parent, name)
        for parent, folders, files in os.walk(folder)
        for name in (*folders, *files)
    )
    for path in (folder, *inside):
        if not os.access(path, os.W_OK) and path.exists():
            raise UserError(
                f"{path} may not be written, and the engine opens no files that it may not write, "
                "even to search: copy the library to where you may write"
            )


def _reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
