"""Progress of long work: a bar on a terminal, and elsewhere a line now and then."""

import sys
import time
from typing import Any

from tqdm import tqdm

PAUSE = 10.0  # seconds between two lines


class ProgressBar(tqdm):  # type: ignore[type-arg]
    """A progress bar that prints a line every ten seconds where there is no terminal.

    So a log or a pipe shows how far the work is, and nothing of work that is soon done.

    Args:
        *args: as for `tqdm`.
        **kwargs: as for `tqdm`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._terminal, self._told = sys.stderr.isatty(), time.monotonic()
        if not self._terminal:
            kwargs["leave"] = False
        super().__init__(*args, **kwargs)

    def display(self, msg: str | None = None, pos: int | None = None) -> bool | None:
        """Draw the bar, or print it as a line; see `tqdm.display`."""
        if self._terminal:
            return bool(super().display(msg, pos))
        now = time.monotonic()
        if msg is None and now - self._told >= PAUSE:
            self._told = now
            print(str(self), file=sys.stderr, flush=True)
        return None

    def clear(self, nolock: bool = False) -> None:
        """Take a drawn bar away; see `tqdm.clear`."""
        if self._terminal:
            super().clear(nolock=nolock)
