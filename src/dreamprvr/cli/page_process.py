"""The page in a process of its own, so that it answers while this one extracts and indexes."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from io import TextIOBase
from multiprocessing.connection import Connection
from typing import Any

from dreamprvr.core.errors import UserError

MISTAKE = "\0"  # begins the message of a UserError among the lines that the page prints
ENDING = 5.0  # seconds that the process may take to end


class PageProcess:
    """A process that runs `lightning serve`, and ends with this one, even after `kill -9`.

    Args:
        say: function that is given each line that the page prints, on a thread of its own.
        options: arguments of the verb `serve`, by name.
    """

    def __init__(self, say: Callable[[str], None], **options: Any) -> None:
        self._say, self._options = say, options
        self._process: Any = None
        self._mistake = ""
        self._ended = threading.Event()

    def start(self) -> None:
        """Start the process; it takes seconds until the page can be opened."""
        context = multiprocessing.get_context("spawn")
        receiver, sender = context.Pipe(duplex=False)
        self._process = context.Process(target=_serve, args=(sender, self._options), name="page")
        # Ctrl-C reaches the new process too, which cannot handle it before `_serve` is called
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._process.start()
        signal.signal(signal.SIGINT, before)
        sender.close()
        threading.Thread(target=self._relay, args=(receiver,), daemon=True).start()

    def has_ended(self) -> bool:
        """Return whether the page has ended.

        Raises:
            UserError: it could not be served; the message says why.
        """
        if self._ended.is_set() and self._mistake:
            raise UserError(self._mistake)
        return self._ended.is_set()

    def wait(self, seconds: float | None = None) -> None:
        """Wait until the page ends.

        Args:
            seconds: longest time to wait; None waits for ever.

        Raises:
            UserError: see `has_ended`.
        """
        self._ended.wait(seconds)
        self.has_ended()

    def close(self) -> None:
        """End the page."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGINT)  # after which it tidies up
        self._process.join(ENDING)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _relay(self, receiver: Connection) -> None:
        """Hand the page's lines on until it ends."""
        with suppress(EOFError, OSError):
            while True:
                line = receiver.recv()
                if line.startswith(MISTAKE):
                    self._mistake = line.removeprefix(MISTAKE)
                elif line:
                    self._say(line)
        self._process.join()
        if self._process.exitcode and not self._mistake and self._process.exitcode > 0:
            self._mistake = "the page's server has ended with an error, which is printed above"
        self._ended.set()


class _Lines(TextIOBase):
    """Standard output whose lines go to another process."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._line = connection, ""

    def write(self, text: str) -> int:
        """Send each line that is complete."""
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            with suppress(OSError):  # nobody listens any more
                self._connection.send(line)
        return len(text)


def _serve(connection: Connection, options: dict[str, Any]) -> None:
    """Serve, in the new process."""
    threading.Thread(target=_follow_parent, daemon=True).start()
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        from dreamprvr.cli.library_verbs import serve_library

        with redirect_stdout(_Lines(connection)):
            serve_library(**options)
    except UserError as error:
        connection.send(f"{MISTAKE}{error}")
        sys.exit(2)
    except KeyboardInterrupt:  # before the server listens
        sys.exit(0)


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
