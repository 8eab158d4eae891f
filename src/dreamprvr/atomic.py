"""Files that appear under their name only once they are complete."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dreamprvr.errors import UserError


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """A temporary sibling to write; it takes the target's place if the block succeeds.

    Args:
        target: where the file is to be; its folder is created.

    Raises:
        UserError: the file cannot be written (no room, no permission).
    """
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        os.replace(partial, target)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror or error}") from None
    finally:
        with suppress(OSError):  # there may be none, or its folder may be no folder
            partial.unlink()
