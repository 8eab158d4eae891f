"""Packing: items read, pooled and normalised once, and written one after the other."""

import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from data_modules.generated import building
from data_modules.packed.checksums import ChecksumWriter
from data_modules.packed.ragged import offsets_of
from data_modules.packed.settings import Items, fields_of, kind_of, stored_dtype
from data_modules.packed.store import RECORD, PackedStore, write_manifest
from dreamprvr.core.files import check_room

ROOM_CHECKS = 16  # times that the rest's size is estimated while packing
SAMPLES = 8


def pack(data: Items, folder: Path, settings: dict[str, Any]) -> None:
    """Write the packed store of all items; until it is complete there is none.

    The items themselves decide what is packed, so packed values are those that reading item by
    item gives.

    Args:
        data: the items.
        folder: takes the place of what is there.
        settings: of these items (`data_modules.packed.settings`).

    Raises:
        UserError: an item is missing or unreadable.
        OSError: no room, or no permission.
    """
    manifest: dict[str, Any] = {}
    with building(folder, RECORD, manifest) as new:
        manifest.update(
            write_manifest({"settings": settings, "files": _write(data, new, settings)})
        )


def _write(data: Items, folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Write the files of all fields, and return their sizes and checksums."""
    names, dtype = fields_of(data), stored_dtype(settings)
    lengths: dict[str, list[int]] = {name: [] for name in names}
    every = -(-len(data) // ROOM_CHECKS)
    with ExitStack() as stack:
        files = {
            name: stack.enter_context(ChecksumWriter(folder / name))
            for field in names
            for name in (f"{field}.rows", f"{field}.offsets")
        }
        bar = tqdm(range(len(data)), desc=f"packing {kind_of(settings)}", disable=None)
        for number in bar:
            item = data[number]
            for name in names:
                rows = getattr(item, name).numpy()
                files[f"{name}.rows"].write(rows.astype(dtype))
                lengths[name].append(len(rows))
            if number % every == 0:  # refused now rather than when the disk is full
                done = sum(file.bytes for file in files.values())
                check_room(folder, done * (len(data) - number - 1) // (number + 1), "packing")
        for name in names:
            files[f"{name}.rows"].write(np.zeros(settings["source"]["dim"], dtype))
            files[f"{name}.offsets"].write(offsets_of(lengths[name]).astype("<i8"))
    return {name: {"bytes": file.bytes, "crc32": file.checksums} for name, file in files.items()}


def same_samples(store: PackedStore, data: Items, settings: dict[str, Any]) -> bool:
    """Whether a few items, evenly spread, are packed as reading them gives them, bit for bit.

    Finds what names, sizes and times of files do not tell.
    """
    for number in np.unique(np.linspace(0, len(data) - 1, SAMPLES).astype(int)).tolist():
        item = data[number]
        for name in fields_of(data):
            rows, offsets = store.field(name)
            packed = rows[offsets[number] : offsets[number + 1]].numpy()
            if not np.array_equal(
                packed, getattr(item, name).numpy().astype(stored_dtype(settings))
            ):
                return False
    return True


def remove_remains(folder: Path) -> None:
    """Remove what a killed process left of this folder; only while no other one can be packing."""
    for remains in folder.parent.glob(f".{folder.name}-*.tmp"):
        shutil.rmtree(remains, ignore_errors=True)
