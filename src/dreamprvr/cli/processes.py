"""Ends all processes of a run within seconds when one of them fails, with one line.

The first process prints what went wrong. Every other process waits a moment before it prints: the
first may have met the same error, and then ends the others. Nothing here asks other processes
through torch, as they may be waiting for something else.
"""

import os
import signal
import subprocess
import sys
import threading
import time

GRACE = 3.0  # seconds that another process waits for the first to end it
LOOK = 0.2  # seconds between looks at the other processes
LONG = 30.0  # seconds in which the others may end after the first has succeeded
PARENT = "DREAMPRVR_PARENT"  # holds the number of the process that `compare` runs in
RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")

_children: list[subprocess.Popen[bytes]] = []
_ending = threading.Event()


def is_first() -> bool:
    """Return whether this is the only process of the run, or the first of several."""
    return all(os.environ.get(name, "0") == "0" for name in RANKS)


def is_one_of_several() -> bool:
    """Return whether this process has started others, or is not the first."""
    return bool(_children) or not is_first()


def leave_to_first() -> None:
    """Wait, unless this is the first process, so that the first may end this one silently."""
    _ending.set()
    if not is_first():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        time.sleep(GRACE)


def watch(children: list[subprocess.Popen[bytes]]) -> None:
    """Watch other processes, in place of Lightning's observer, which hides the exit code.

    Args:
        children: processes that this one, the first, has started.
    """
    _children[:] = children
    _ending.clear()
    threading.Thread(target=_watch_children, daemon=True, name="watch-processes").start()


def follow_parent() -> None:
    """End this process when the process that started it is gone, as after `kill -9`.

    A run of `lightning compare` is told to stop, and saves first.
    """
    if number := os.environ.pop(PARENT, ""):
        threading.Thread(target=_stop_after, args=(int(number),), daemon=True).start()
    if os.environ.get("LOCAL_RANK", "0") != "0" and "TORCHELASTIC_RUN_ID" not in os.environ:
        parent = os.getppid()
        threading.Thread(target=_follow, args=(parent,), daemon=True, name="follow").start()


def failed_process(seconds: float = 0.0) -> int:
    """Return the exit code of another process that has failed, or 0 if none has.

    A process says itself why it failed. If a signal ended it, this function says so.

    Args:
        seconds: how long to wait for one to fail.
    """
    until = time.monotonic() + seconds
    while True:
        for rank, child in enumerate(_children, 1):
            code = child.poll()
            if code is not None and code > 0:
                return code
            if code is not None and code < 0:
                name = signal.Signals(-code).name
                print(f"error: process {rank} of the run was ended by {name}", file=sys.stderr)
                return 128 - code
        if time.monotonic() >= until or not _children:
            return 0
        time.sleep(LOOK)


def end_others(code: int) -> int:
    """End the processes that this one has started, and return the exit code of the whole run.

    Args:
        code: exit code of this process. If it is 0, the others may first end by themselves.
    """
    _ending.set()
    try:
        if not code and _children:
            until = time.monotonic() + LONG
            while time.monotonic() < until and any(c.poll() is None for c in _children):
                time.sleep(LOOK / 4)
            code = failed_process()
        return code
    finally:
        for child in _children:
            if child.poll() is None:
                child.kill()
            child.wait()
        _children.clear()


def _watch_children() -> None:
    while not _ending.wait(LOOK):
        if all(child.poll() == 0 for child in _children):
            return
        if any(child.poll() for child in _children):
            # this process may meet the error itself, and then end in an orderly way
            if _ending.wait(GRACE):
                return
            code = end_others(failed_process())
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


def _follow(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _stop_after(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)
