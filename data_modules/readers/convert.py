"""Convert features from the published "big file" form to one HDF5 file, which opens faster."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from tqdm import tqdm

from data_modules.readers.bigfile import BigFile
from data_modules.readers.hdf5 import (
    H5_ERRORS,
    ROWS_SUM,
    SPARE_BYTES,
    UnavailableError,
    checksum,
    follow,
    holds,
    link_name,
    open_hdf5,
)
from data_modules.readers.store import plural
from dreamprvr.core.errors import UserError
from dreamprvr.core.files import check_free_disk, plain_errors, refuse_links, reserve, sync
from dreamprvr.core.text import quote

BLOCK_ROWS = 4096  # rows in memory at a time
CHECKPOINT_BYTES = 256 * 2**20


def convert_big_file(
    folder: str | Path, target: str | Path | None = None, progress: bool = True
) -> Path:
    """Copy a big file into an HDF5 file with one root dataset (N, F) float32 per video.

    The copy grows in `<target>.partial`, which takes the target's name once all of it is on disk.
    After an interruption, the next call checks this file and continues it.

    Args:
        folder: path of the folder with the big file.
        target: path of the file to write; by default feature.hdf5 in the same folder.
        progress: show a progress bar that counts videos.

    Returns:
        The target. If it was complete before, a line says so and nothing is done.

    Raises:
        UserError: the big file is damaged, the disk is full (the partial file is kept), another
            conversion runs, or the target is no copy of this big file.
    """
    source = BigFile(Path(folder))
    target = Path(target) if target is not None else source.folder / "feature.hdf5"
    if unusable := [video for video in source.videos if link_name(video) is None]:
        raise UserError(
            f"{source.folder}: {quote(unusable[0])} cannot be the name of an HDF5 dataset"
        )
    if target.exists():
        _check_target(target, source)
        print(f"{target} already holds all of {plural(len(source.videos), 'video')}: nothing to do")
        return target
    partial = target.with_name(target.name + ".partial")
    refuse_links(partial.parent, partial.name, hard=True)
    with plain_errors(partial, "then run the same command again: what is done is kept"):
        done = _finished(partial, source)
        _check_free_disk(partial, source, done)
        _copy(partial, source, done, progress)
        os.replace(partial, target)
        sync(target.parent)
    return target


def _copy(partial: Path, source: BigFile, done: set[str], progress: bool) -> None:
    """Write the videos that are not done, and leave the file complete and on disk."""
    with open_hdf5(partial, "r+") if done else h5py.File(partial, "w") as file:
        config = file.id.get_mdc_config()
        # HDF5's tables reach the disk at checkpoints only, so that a kill finds them consistent.
        config.evictions_enabled = False
        config.incr_mode = config.flash_incr_mode = config.decr_mode = 0
        file.id.set_mdc_config(config)
        file.attrs["source"] = _fingerprint(source)
        unsaved = 0
        videos = tqdm(source.videos, unit="video", disable=not progress)
        for number, video in enumerate(videos):
            if video in done:
                continue
            _write_video(file, partial, source, video)
            unsaved += len(source.videos[video]) * source.shape[1] * 4
            if unsaved >= CHECKPOINT_BYTES:
                _checkpoint(file, partial, number + 1)
                unsaved = 0
        _checkpoint(file, partial, len(source.videos))
    with h5py.File(partial, "r+"):
        pass  # HDF5 only now sees what was reserved and not needed, and cuts it off
    sync(partial)


def _write_video(file: h5py.File, partial: Path, source: BigFile, video: str) -> None:
    rows = len(source.videos[video])
    reserve(partial, file.id.get_filesize() + rows * source.shape[1] * 4 + SPARE_BYTES)
    if video in file:
        del file[video]  # an interruption left it half written
    dataset = file.create_dataset(video, (rows, source.shape[1]), np.float32, track_times=False)

    def written() -> Iterator[np.ndarray]:
        for start in range(0, rows, BLOCK_ROWS):
            stop = min(start + BLOCK_ROWS, rows)
            block = source.read(video, start, stop)
            dataset[start:stop] = block
            yield block

    dataset.attrs[ROWS_SUM] = checksum(video, written())


def _checkpoint(file: h5py.File, partial: Path, videos: int) -> None:
    """Bring everything to the disk, then note that the first `videos` videos are complete."""
    file.flush()
    sync(partial)
    file.attrs["videos"] = videos
    file.flush()
    sync(partial)


def _finished(partial: Path, source: BigFile) -> set[str]:
    """Return the videos that an earlier run has completed; none if the file is of no use."""
    if not partial.exists():
        return set()
    try:
        with open_hdf5(partial) as file:
            if file.attrs["source"] != _fingerprint(source):
                return set()
            trusted = int(file.attrs.get("videos", 0))
            return {
                video
                for number, video in enumerate(source.videos)
                if _same(file, source, video, sample=number < trusted)
            }
    except UnavailableError:
        raise
    except (*H5_ERRORS, UserError):
        return set()


def _same(file: h5py.File, source: BigFile, video: str, sample: bool) -> bool:
    """Return whether a dataset is the copy of a video; `sample` compares only its last row."""
    shape = (len(source.videos[video]), source.shape[1])
    dataset = follow(file, video) if holds(file, video) else None
    if not isinstance(dataset, h5py.Dataset) or dataset.shape != shape:
        return False
    if dataset.dtype != np.float32 or dataset.is_virtual or dataset.external:
        return False
    step = BLOCK_ROWS
    first = max(shape[0] - 1, 0) if sample else 0
    return all(
        np.array_equal(dataset[i : i + step], source.read(video, i, i + step), equal_nan=True)
        for i in range(first, shape[0], step)
    )


def _check_target(target: Path, source: BigFile) -> None:
    try:
        with open_hdf5(target) as file:
            wrong = [v for v in source.videos if not _same(file, source, v, sample=True)]
    except H5_ERRORS:
        wrong = list(source.videos)
    if wrong:
        raise UserError(
            f"{target} exists but differs from the big file in {len(wrong):,} of "
            f"{plural(len(source.videos), 'video')} (first: {quote(wrong[0])}): move it away to "
            "convert anew"
        )


def _check_free_disk(partial: Path, source: BigFile, done: set[str]) -> None:
    """Refuse at the start a copy for which the disk has no space."""
    partial.parent.mkdir(parents=True, exist_ok=True)
    rows = sum(len(numbers) for video, numbers in source.videos.items() if video not in done)
    needed = rows * source.shape[1] * 4 + SPARE_BYTES
    replaced = partial.stat().st_size if partial.exists() and not done else 0
    check_free_disk(partial.parent, needed - replaced, f"writing {partial.name}")


def _fingerprint(source: BigFile) -> str:
    """Return a text that changes with the state of a big file, without reading all of it."""
    stats = {name: (source.folder / name).stat() for name in ("feature.bin", "video2frames.txt")}
    sizes = {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}
    return json.dumps({"shape": source.shape, "files": sizes})
