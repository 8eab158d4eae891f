"""Convert features from the published "big file" form to one HDF5 file, which opens faster."""

import os
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from data_modules.generation.folders import work_folder, write_datasets
from data_modules.readers.bigfile import BigFile
from data_modules.readers.hdf5 import H5_ERRORS, follow, holds, link_name, open_hdf5
from dreamprvr.core.errors import UserError
from dreamprvr.core.files import check_free_disk, plain_errors
from dreamprvr.core.text import plural, quote

RECORD = "convert.json"
CHUNK = 16  # videos in memory at a time


def convert_big_file(folder: str | Path, target: str | Path | None = None) -> Path:
    """Copy a big file into an HDF5 file with one root dataset (N, F) float32 per video.

    The copy grows in the folder `.<target>.partial`, and takes its place once it is complete. After
    an interruption, the next call continues it.

    Args:
        folder: path of the folder with the big file.
        target: path of the file to write; by default feature.hdf5 in the same folder.

    Returns:
        The target. If it was complete before, a line says so and nothing is done.

    Raises:
        UserError: the big file is damaged, the disk is full (what is done is kept), another
            conversion runs, or the target is no copy of this big file.
    """
    source = BigFile(Path(folder))
    target = Path(target) if target is not None else source.folder / "feature.hdf5"
    names = list(source.videos)
    if unusable := [video for video in names if link_name(video) is None]:
        raise UserError(
            f"{source.folder}: {quote(unusable[0])} cannot be the name of an HDF5 dataset"
        )
    if target.exists():
        _check_target(target, source)
        print(f"{target} already holds all of {plural(len(names), 'video')}: nothing to do")
        return target
    work = work_folder(target, RECORD, _fingerprint(source))
    copy = work / "feature.hdf5"
    done = copy.stat().st_size if copy.exists() else 0
    rows = sum(map(len, source.videos.values()))
    check_free_disk(work, rows * source.shape[1] * 4 - done, f"writing {target.name}")

    def read(start: int, stop: int) -> list[np.ndarray]:
        return [source.read(video) for video in names[start:stop]]

    write_datasets(copy, names, read, CHUNK, "videos")
    with plain_errors(target):
        os.replace(copy, target)
    shutil.rmtree(work)
    return target


def _check_target(target: Path, source: BigFile) -> None:
    try:
        with open_hdf5(target) as file:
            wrong = [video for video in source.videos if not _same(file, source, video)]
    except H5_ERRORS:
        wrong = list(source.videos)
    if wrong:
        raise UserError(
            f"{target} exists but differs from the big file in {len(wrong):,} of "
            f"{plural(len(source.videos), 'video')} (first: {quote(wrong[0])}): move it away to "
            "convert anew"
        )


def _same(file: h5py.File, source: BigFile, video: str) -> bool:
    """Return whether a dataset is the copy of a video, by its shape and its last row."""
    shape = (len(source.videos[video]), source.shape[1])
    dataset = follow(file, video) if holds(file, video) else None
    if not isinstance(dataset, h5py.Dataset) or dataset.shape != shape:
        return False
    if dataset.dtype != np.float32 or dataset.is_virtual or dataset.external:
        return False
    last = max(shape[0] - 1, 0)
    return np.array_equal(dataset[last:], source.read(video, last), equal_nan=True)


def _fingerprint(source: BigFile) -> dict[str, Any]:
    """Collect what changes with the state of a big file, without reading all of it."""
    stats = {name: (source.folder / name).stat() for name in ("feature.bin", "video2frames.txt")}
    files = {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}
    return {"shape": list(source.shape), "files": files}
