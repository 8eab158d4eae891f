"""`progress.json`: how far a process that indexes is, for others to show."""

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from dreamprvr.core.files import atomic_path

NAME = "progress.json"
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
        self.path = folder / NAME
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
            with atomic_path(self.path) as partial:
                partial.write_text(json.dumps(note), encoding="utf-8")
            self._next = time.monotonic() + PAUSE
