"""Checks an HDF5 file's structure in another process before this one trusts it.

A damaged file can make HDF5 crash the process or run for ever; no `except` helps against that. So a
file is walked by `data_modules.hdf5_child` first, which may die of it or be ended. What was found
sound is remembered, by the file's place, size and times of change, in this process and for later
ones in `$XDG_CACHE_HOME/dreamprvr/hdf5-checked`: a file is walked once.
"""

import atexit
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import h5py

CPU_SECONDS = 20  # of computing, in which a walk must get one object further
SILENT_SECONDS = 900.0  # the same on the clock, for systems that do not limit computing
TOLD_AFTER = 4  # beats of half a second
MOST_REMEMBERED_BYTES = 2**20
_CHILD = Path(__file__).with_name("hdf5_child.py")


class Fault(NamedTuple):
    """Why a file cannot be used.

    Args:
        errno: the system's number of the error, if it has one.
        message: as HDF5 gives it, or a clause about the file's structure.
    """

    errno: int | None
    message: str


class Walker:
    """The other process; it is started when first needed and lives as long as this one."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def walk(self, path: Path) -> Fault | None:
        """Walk a file.

        Args:
            path: of an HDF5 file.

        Returns:
            None if all of its structure can be read without a hang or a crash.
        """
        with self._lock:
            if self._child is not None and self._child.poll() is not None:
                self.close()  # somebody ended it meanwhile
            self._child = self._child or _start()
            fault = _ask(self._child, path)
            if self._child.poll() is not None:
                self.close()
            return fault

    def close(self) -> None:
        """End the process."""
        if self._child is None:
            return
        for pipe in (self._child.stdin, self._child.stdout):
            with suppress(OSError):
                pipe.close()  # type: ignore[union-attr]
        if self._child.poll() is None:
            self._child.kill()
            self._child.wait()
        self._child = None


def check_structure(path: Path) -> Fault | None:
    """Find out whether an HDF5 file can be read without harm, if that is not known already.

    Args:
        path: of the file.

    Returns:
        None for a sound file.
    """
    before = _state(path)
    if before in _sound or before in _remembered():
        _sound.add(before)
        return None
    fault = _walker.walk(path)
    if fault is None and _state(path) == before:
        _sound.add(before)
        _remember(before)
    return fault


def _start() -> subprocess.Popen[str]:
    paths = os.pathsep.join(filter(None, sys.path))
    return subprocess.Popen(
        [sys.executable, "-P", str(_CHILD), str(CPU_SECONDS)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"},
        start_new_session=True,  # Ctrl-C in a terminal is for this process alone
    )  # fmt: skip


def _ask(child: subprocess.Popen[str], path: Path) -> Fault | None:
    """Have the other process walk a file, and end it if it gets no further."""
    assert child.stdin is not None
    assert child.stdout is not None
    ended = threading.Event()

    def end() -> None:
        ended.set()
        child.kill()

    with suppress(OSError):
        child.stdin.write(json.dumps(os.path.abspath(path)) + "\n")
        child.stdin.flush()
    line, beats = "\n", 0
    while line == "\n":
        timer = threading.Timer(SILENT_SECONDS, end)
        timer.daemon = True
        timer.start()
        line = child.stdout.readline()
        timer.cancel()
        beats += line == "\n"
        if beats == TOLD_AFTER and line == "\n":
            print(f"{path}: checking its structure, once", file=sys.stderr)
    if line:
        answer = json.loads(line)
        return Fault(answer["errno"], answer["message"]) if answer else None
    if child.wait() == -getattr(signal, "SIGXCPU", 0) or ended.is_set():
        return Fault(None, "reading its structure does not end")
    if child.returncode > 0:
        raise RuntimeError(f"{sys.executable} cannot run {_CHILD}")
    return Fault(None, "reading its structure crashes HDF5")


def _state(path: Path) -> str:
    """What tells one state of a file from another, and one version of the check from another."""
    found = path.stat()
    state = (
        found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns,
        h5py.version.hdf5_version, _CHILD.stat().st_size,
    )  # fmt: skip
    return hashlib.blake2b(repr(state).encode(), digest_size=16).hexdigest()


def _memory() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache, "dreamprvr", "hdf5-checked")


def _remembered() -> set[str]:
    with suppress(OSError, RuntimeError, ValueError):  # no home, no such file
        return set(_memory().read_text(encoding="ascii").split())
    return set()


def _remember(state: str) -> None:
    with suppress(OSError, RuntimeError):  # then it is walked again the next time
        path = _memory()
        path.parent.mkdir(parents=True, exist_ok=True)
        full = path.exists() and path.stat().st_size > MOST_REMEMBERED_BYTES
        with path.open("w" if full else "a", encoding="ascii") as file:
            file.write(state + "\n")


_sound: set[str] = set()
_walker = Walker()
_others: list[Walker] = []  # those of the processes that this one was forked from: left alone


def _after_fork() -> None:
    global _walker
    _others.append(_walker)
    _walker = Walker()


os.register_at_fork(after_in_child=_after_fork) if hasattr(os, "register_at_fork") else None
atexit.register(lambda: _walker.close())
