"""HDF5 files that take long to compute, and go on where an interruption left them."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from tqdm import tqdm

from data_modules.generation.folders import is_current
from data_modules.readers.hdf5 import H5_ERRORS, UnavailableError, holds, open_hdf5, write_rows
from dreamprvr.core.errors import UserError
from dreamprvr.core.files import check_free_disk, plain_errors, refuse_links, write_text
from dreamprvr.core.text import read_bytes

# HDF5 also writes its own tables: a few hundred bytes a dataset, and copies when these grow.
SPARE_BYTES = 4 * 2**20
AGAIN = "then run the same command again: what is done is kept"


def work_folder(folder: Path, record: str, settings: Mapping[str, Any]) -> Path:
    """Where the files of a data set grow: as an interrupted run left it, or new and empty.

    Args:
        folder: that of the finished data set; the work folder is its hidden sibling.
        record: see `data_modules.generation.folders.is_current`.
        settings: what the files depend on; others start over.
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
    what: str,
) -> None:
    """Write a dataset a name; a call that was interrupted is continued by the next one.

    How far it came lies beside the file, in `<path>.done`. A process that is killed leaves no such
    note, and the next call starts over: what HDF5 had not closed may be damaged.

    Args:
        path: the file; its folder exists.
        names: of all datasets.
        make: computes the arrays of `names[start:stop]`.
        chunk: how many are made, and in memory, at once.
        what: the names' kind, for the progress bar.

    Raises:
        UserError: the disk is full (what is done is kept), or another process writes the file.
    """
    note = path.with_name(path.name + ".done")
    file, done = _open(path, note, names, what)
    if file is None:
        return
    try:
        with tqdm(total=len(names), initial=done, desc=what, disable=None) as bar:
            for start in range(done, len(names), chunk):
                stop = min(start + chunk, len(names))
                arrays = make(start, stop)
                with plain_errors(path, AGAIN):
                    size = sum(array.nbytes for array in arrays) + SPARE_BYTES
                    check_free_disk(path.parent, size, f"writing {path.name}")
                    _write(file, names[start:stop], arrays)
                done = stop
                bar.update(stop - start)
    finally:
        file.close()
        write_text(note, str(done))


def _open(path: Path, note: Path, names: Sequence[str], what: str) -> tuple[h5py.File | None, int]:
    """Open the file to be gone on with, and count its datasets; None where all are there.

    What cannot be gone on with, as it is damaged, is begun anew.
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
                    print(f"{done:,} of {len(names):,} {what} are there already")
                    return file, done
            file.close()
        except UnavailableError:
            raise
        except UserError as error:
            print(f"{error}: it is made anew")
    with plain_errors(path, AGAIN):
        note.unlink(missing_ok=True)
        return h5py.File(path, "w"), 0


def _write(file: h5py.File, names: Sequence[str], arrays: Sequence[np.ndarray]) -> None:
    for name, array in zip(names, arrays, strict=True):
        if name in file:
            del file[name]  # an interruption left it half written
        write_rows(file, name, array)
    file.flush()
