"""What the program prints to: terminals of any encoding, and pipes that are closed early."""

import os
import sys
from contextlib import suppress


def print_anything() -> None:
    """Let text that the output's encoding cannot say be printed as escapes like "\\xe4"."""
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")


def reader_is_gone() -> bool:
    """Whether nobody reads the output any more, as behind `| head`."""
    try:
        print(flush=True)
    except BrokenPipeError:
        return True
    return False


def drop_output() -> None:
    """Send to nowhere what Python writes when it ends, which would fail once more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            with suppress(OSError):  # a stream without a file of its own
                os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
