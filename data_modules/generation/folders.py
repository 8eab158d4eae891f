"""Folders that are made by a program: complete or absent, and made again when settings change."""

import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from dreamprvr.core.errors import UserError
from dreamprvr.core.text import read_bytes

LARGEST_SEED = 2**63 - 1
RECORD_BYTES = 2**20  # of the settings that a folder was made with


def generator(seed: int, *names: str) -> np.random.Generator:
    """A random generator that depends on `seed` and `names` alone.

    Independent of the process, of the order of calls and of how many other generators there are,
    so that one video or one word can be made again by itself.
    """
    return np.random.default_rng([seed, *(zlib.crc32(name.encode()) for name in names)])


def is_current(folder: Path, record: str, settings: Mapping[str, Any]) -> bool:
    """Whether `folder` was made with exactly these settings.

    Args:
        folder: the folder to be generated.
        record: name of the JSON file in it that holds the settings it was made with.
        settings: what is wanted now, of JSON types.

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
        return False  # a damaged record: ours by its name, so made again


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
