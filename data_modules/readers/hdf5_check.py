"""Check an HDF5 file's structure in another process before this one trusts it.

A damaged file can make HDF5 crash the process or run for ever; no `except` helps against that. So
another process, which may die of it or be ended, walks the file first. It does all that
`data_modules.readers.hdf5` later does with the file: it opens it, lists and looks up names, and
reads attributes, shapes, chunk indexes and the first row of each dataset that is stored in chunks.
It does not look at the values of rows, and passes over errors that HDF5 reports of a single object:
whoever reads that object gets them again. What was found sound is remembered, by the file's place,
size and times of change, in this process and for later ones in
`$XDG_CACHE_HOME/dreamprvr/hdf5-checked`: a file is walked once.

The other process runs this file as a script. It takes a path as a JSON string on each line of its
input, and answers with a JSON object on a line of its output: empty for a file that can be walked,
else `errno` and `message` of what stopped it. Empty lines in between say that the walk goes on.
This file imports nothing of the project, so that the process starts fast.
"""

import atexit
import hashlib
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

CPU_SECONDS = 20  # computing time in which a walk must get one object further
SILENT_SECONDS = 900.0  # the same on the clock, for systems that do not limit computing time
TOLD_AFTER = 4  # beats of half a second, after which the user is told of a long walk
MOST_REMEMBERED_BYTES = 2**20
_CHILD = Path(__file__)


BEAT_SECONDS = 0.5


LINK_BYTES = 8  # a link takes more than this in any form of group


MEMORY_BYTES = 4 * 2**30


# What h5py raises on files that are truncated, damaged or hostile.
ERRORS = (OSError, RuntimeError, ValueError, LookupError, TypeError, OverflowError)


class Fault(NamedTuple):
    """Why a file cannot be used.

    Args:
        errno: the system's number of the error, if it has one.
        message: message of HDF5, or a clause about the file's structure.
    """

    errno: int | None
    message: str


class Walker:
    """The other process, which is started when first needed and lives as long as this one."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def walk(self, path: Path) -> Fault | None:
        """Walk a file.

        Args:
            path: path of an HDF5 file.

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
        path: path of the file.

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
    """Return a text that changes with the state of a file and with the version of this check."""
    status = path.stat()
    state = (
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns,
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
_others: list[Walker] = []  # walkers of the processes that this one was forked from, left alone


def _after_fork() -> None:
    global _walker
    _others.append(_walker)
    _walker = Walker()


os.register_at_fork(after_in_child=_after_fork) if hasattr(os, "register_at_fork") else None
atexit.register(lambda: _walker.close())


try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]


class EndlessError(Exception):
    """The file lists more objects than it can hold."""


class Progress:
    """Counter of objects that reports the progress of the walk.

    Args:
        most: largest number of objects that the file can hold.
        seconds: computing time that one step may take.
    """

    def __init__(self, most: int, seconds: int) -> None:
        self.left, self.seconds = most, seconds
        self.said = time.monotonic()
        limit_time(seconds)

    def step(self, *_: object) -> bool | None:
        """Count one object.

        Returns:
            True, which ends an iteration of HDF5, if there are more than the file can hold.
        """
        self.left -= 1
        if self.left >= 0 and time.monotonic() - self.said > BEAT_SECONDS:
            print(flush=True)
            self.said = time.monotonic()
            limit_time(self.seconds)
        return True if self.left < 0 else None

    def end(self) -> None:
        """Raise an EndlessError if more objects were counted than the file can hold."""
        if self.left < 0:
            raise EndlessError


def check(path: str, seconds: int = 20) -> dict[str, object]:
    """Walk a file.

    Args:
        path: path of an HDF5 file.
        seconds: computing time after which this process ends if the walk gets no further.

    Returns:
        The answer, as the top of this file describes it.
    """
    try:
        progress = Progress(os.stat(path).st_size // LINK_BYTES, seconds)
        with h5py.File(path, "r") as file:
            walk_attributes(file.id, progress)
            walk_group(file.id, progress, depth=2)
    except EndlessError:
        return {"errno": None, "message": "its list of names has no end"}
    except MemoryError:
        return {"errno": None, "message": "an object claims more than 4 GB of memory"}
    except ERRORS as error:
        return {"errno": getattr(error, "errno", None), "message": str(error)}
    return {}


def walk_group(group: h5py.h5g.GroupID, progress: Progress, depth: int) -> None:
    """Walk what the links of a group lead to, down to `depth` levels."""
    names: list[bytes] = []

    def note(name: bytes) -> bool | None:
        names.append(name)
        return progress.step()

    with suppress(*ERRORS):
        group.links.iterate(note)
    for name in names:
        progress.end()
        progress.step()
        with suppress(*ERRORS):
            group.links.exists(name)
            if group.links.get_info(name).type != h5py.h5l.TYPE_HARD:
                continue
            node = h5py.h5o.open(group, name)
            walk_attributes(node, progress)
            if isinstance(node, h5py.h5d.DatasetID):
                walk_dataset(node, progress)
            elif isinstance(node, h5py.h5g.GroupID) and depth > 1:
                walk_group(node, progress, depth - 1)
    with suppress(*ERRORS):
        group.links.exists(b"no such name")


def walk_attributes(node: h5py.h5g.GroupID | h5py.h5d.DatasetID, progress: Progress) -> None:
    """Open all attributes of an object, and read those whose values lie elsewhere in the file."""
    names: list[bytes] = []

    def note(name: bytes, *_: object) -> bool | None:
        names.append(name)
        return progress.step()

    with suppress(*ERRORS):
        h5py.h5a.iterate(node, note)
    progress.end()
    for name in names:
        with suppress(*ERRORS):
            attribute = h5py.h5a.open(node, name)
            kind = attribute.get_type()
            apart = kind.get_class() not in (h5py.h5t.INTEGER, h5py.h5t.FLOAT)
            if apart and (kind.get_class() != h5py.h5t.STRING or kind.is_variable_str()):
                attribute.read(np.empty(attribute.shape, attribute.dtype))


def walk_dataset(dataset: h5py.h5d.DatasetID, progress: Progress) -> None:
    """Look up all properties of a dataset's rows; read one row if the rows have filters."""
    _ = dataset.shape, dataset.dtype, dataset.get_storage_size()
    settings = dataset.get_create_plist()
    if settings.get_external_count() or settings.get_layout() != h5py.h5d.CHUNKED:
        return
    dataset.get_num_chunks()
    if hasattr(dataset, "chunk_iter"):  # of HDF5 since 1.12.3
        dataset.chunk_iter(progress.step)
        progress.end()
    h5py.Dataset(dataset)[:1]


def limit_memory() -> None:
    """Have the system refuse the absurd amounts of memory that damaged sizes ask for."""
    if sys.platform == "linux":  # macOS takes no such limit
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def limit_time(seconds: int) -> None:
    """Have the system end this process after so many more seconds of computing.

    Waiting for a slow disk does not count, nor for a turn on a busy machine.
    """
    if resource is not None:
        used = time.process_time()
        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(used) + seconds, hard))


if __name__ == "__main__":
    limit_memory()
    for line in sys.stdin:
        print(json.dumps(check(json.loads(line), int(sys.argv[1]))), flush=True)
