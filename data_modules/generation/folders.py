"""Folders that a program makes: complete or absent, and made again when settings change.

HDF5 files in them that take long to compute go on where an interruption left them.
"""

import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from data_modules.readers.hdf5 import (
    H5_ERRORS,
    SPARE_BYTES,
    UnavailableError,
    holds,
    open_hdf5,
    write_rows,
)
from dreamprvr.core.errors import UserError
from dreamprvr.core.files import check_free_disk, plain_errors, refuse_links, write_text
from dreamprvr.core.progress import ProgressBar
from dreamprvr.core.text import read_bytes

LARGEST_SEED = 2**63 - 1
AGAIN = "then run the same command again: what is done is kept"
RECORD_BYTES = 2**20  # largest file with the settings that a folder was made with


def generator(seed: int, *names: str) -> np.random.Generator:
    """Make a random generator that depends on `seed` and `names` alone.

    It does not depend on the process, on the order of calls or on other generators, so that one
    video or one word can be made again by itself.
    """
    return np.random.default_rng([seed, *(zlib.crc32(name.encode()) for name in names)])


def is_current(folder: Path, record: str, settings: Mapping[str, Any]) -> bool:
    """Return whether a folder was made with exactly these settings.

    Args:
        folder: path of the folder that is to be generated.
        record: name of the JSON file in the folder that holds the settings it was made with.
        settings: the settings that are wanted now, of JSON types.

    Raises:
        UserError: the folder holds something that was not generated; it must not be replaced.
    """
    if not folder.exists():
        return False
    if not folder.is_dir():
        raise UserError(f"{folder} is a file, so no data set can be made there; name another root")
    if not (folder / record).exists():
        if not any(folder.iterdir()):
            return False
        raise UserError(
            f"{folder} holds data without a {record}, so they were not generated and are not "
            "replaced; name another root or move them away"
        )
    content = read_bytes(folder / record, RECORD_BYTES)
    try:
        return bool(json.loads(content) == dict(settings))
    except (ValueError, RecursionError):
        return False  # a damaged record of ours: the folder is made again


@contextmanager
def building(folder: Path, record: str, settings: Mapping[str, Any]) -> Iterator[Path]:
    """Build `folder` in a temporary sibling that takes its place when the block ends.

    An error or an interrupt inside the block leaves what was there before. Call `is_current`
    first: what stands at `folder` is replaced. Several processes may build at once; one wins.

    Yields:
        The temporary folder to write to.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", suffix=".tmp", dir=folder.parent))
    try:
        new = work / "new"
        new.mkdir()  # mkdtemp is private to its owner; this one obeys the umask
        yield new
        text = json.dumps(dict(settings), indent=2) + "\n"
        (new / record).write_text(text, encoding="utf-8")
        _replace(folder, new, work / "old")
        if not folder.is_dir():
            raise UserError(f"could not put the generated data at {folder}; run it again")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _replace(folder: Path, new: Path, old: Path) -> None:
    with suppress(FileNotFoundError):
        os.rename(folder, old)
    try:
        os.rename(new, folder)
    except OSError:
        # Another process put its own (equal) folder there between the two steps.
        if not folder.is_dir():
            raise


def work_folder(folder: Path, record: str, settings: Mapping[str, Any]) -> Path:
    """Return the folder in which the files of a data set grow.

    It is as an interrupted run left it, or new and empty.

    Args:
        folder: path of the finished data set; the work folder is its hidden sibling.
        record: name of the file with the settings, as in `is_current`.
        settings: all that the files depend on; with other settings the work starts over.
    """
    work = folder.with_name(f".{folder.name}.partial")
    refuse_links(work.parent, work.name, hard=True)
    if not is_current(work, record, settings):
        shutil.rmtree(work, ignore_errors=True)
        with plain_errors(work):
            work.mkdir(parents=True)
        write_text(work / record, json.dumps(dict(settings)))
    return work


def write_datasets(
    path: Path,
    names: Sequence[str],
    make: Callable[[int, int], Sequence[np.ndarray]],
    chunk: int,
    noun: str,
) -> None:
    """Write a dataset for each name; the next call continues one that was interrupted.

    How far it came lies beside the file, in `<path>.done`. A process that is killed leaves no such
    note, and the next call starts over: what HDF5 had not closed may be damaged.

    Args:
        path: path of the file, in a folder that exists.
        names: names of all datasets.
        make: function that computes the arrays of `names[start:stop]`.
        chunk: number of arrays that are made, and in memory, at once.
        noun: plural of the things that have these names, for the progress bar: "videos".

    Raises:
        UserError: the disk is full (what is done is kept), or another process writes the file.
    """
    note = path.with_name(path.name + ".done")
    file, done = _open(path, note, names, noun)
    if file is None:
        return
    try:
        with ProgressBar(total=len(names), initial=done, desc=noun) as bar:
            for start in range(done, len(names), chunk):
                stop = min(start + chunk, len(names))
                arrays = make(start, stop)
                with plain_errors(path, AGAIN):
                    _write(path, file, names[start:stop], arrays)
                done = stop
                bar.update(stop - start)
    finally:
        file.close()
        write_text(note, str(done))


def _open(path: Path, note: Path, names: Sequence[str], noun: str) -> tuple[h5py.File | None, int]:
    """Open a file and count its datasets; None instead of the file where all are there.

    A damaged file is begun anew.
    """
    try:
        done = int(read_bytes(note, 100))
    except (UserError, ValueError):
        done = 0
    if 0 < done <= len(names) and path.exists():
        try:
            file = open_hdf5(path, "r+")
            with suppress(*H5_ERRORS):
                if all(holds(file, name) for name in names[:done]):
                    if done == len(names):
                        file.close()
                        return None, done
                    note.unlink()
                    print(f"{done:,} of {len(names):,} {noun} are there already")
                    return file, done
            file.close()
        except UnavailableError:
            raise
        except UserError as error:
            print(f"{error}: it is made anew")
    with plain_errors(path, AGAIN):
        note.unlink(missing_ok=True)
        return h5py.File(path, "w"), 0


def _write(path: Path, file: h5py.File, names: Sequence[str], arrays: Sequence[np.ndarray]) -> None:
    size = sum(array.nbytes for array in arrays) + SPARE_BYTES
    check_free_disk(path.parent, size, f"writing {path.name}")
    for name, array in zip(names, arrays, strict=True):
        if name in file:
            del file[name]  # an interruption left it half written
        write_rows(file, name, array)
    file.flush()
