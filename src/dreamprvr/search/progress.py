"""`progress.json`: how far a process that indexes is, for others to show."""

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from dreamprvr.core.files import write_text
from dreamprvr.search.manifest import PROGRESS

PAUSE = 0.2  # seconds between two notes

Report = Callable[[int, int, str], None]
"""Told how many videos are done, of how many, and which comes next."""


class ProgressFile:
    """Keeps a library's `progress.json` while a block runs, and removes it at the end.

    Args:
        folder: of the library.
        also: told the same, each time.
    """

    def __init__(self, folder: Path, also: Report | None = None) -> None:
        self.path = folder / PROGRESS
        self.also = also
        self._next = 0.0

    def __enter__(self) -> "ProgressFile":
        return self

    def __exit__(self, *exception: object) -> None:
        with suppress(OSError):
            self.path.unlink()

    def __call__(self, done: int, total: int, video: str) -> None:
        """Say how far it is."""
        if self.also is not None:
            self.also(done, total, video)
        if time.monotonic() >= self._next:
            note = {"done": done, "total": total, "video": video, "pid": os.getpid()}
            write_text(self.path, json.dumps(note))
            self._next = time.monotonic() + PAUSE
