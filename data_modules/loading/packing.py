"""Pack features: read, pool and normalise all items once, and write them one after the other.

One process packs for all processes of a run; a store that is there and sound is used as it is.
"""

import os
import shutil
import zlib
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from data_modules.generation.folders import building
from data_modules.loading.gather import offsets_of
from data_modules.loading.packed_store import (
    RECORD,
    Items,
    PackedStore,
    Precision,
    Unusable,
    fields_of,
    folder_name,
    kind_of,
    packed_settings,
    stored_dtype,
    write_manifest,
)
from dreamprvr.core.errors import UserError
from dreamprvr.core.files import DISK_FULL, DiskFull, check_free_disk
from dreamprvr.core.locks import folder_lock
from dreamprvr.core.progress import ProgressBar

ROOM_CHECKS = 16  # times that the size of the rest is estimated while packing
SAMPLES = 8  # items that are read again to compare them with a store
ADVICE = "name another folder with --data.packed_folder, or leave out --data.packed"


def pack(data: Items, folder: Path, settings: dict[str, Any]) -> None:
    """Write the packed store of all items; until it is complete there is none.

    The items themselves decide what is packed, so packed values are those that reading item by
    item gives.

    Args:
        data: the items.
        folder: path of the store, which takes the place of what is there.
        settings: settings of these items, from `packed_settings`.

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
            name: stack.enter_context((folder / name).open("xb"))
            for field in names
            for name in (f"{field}.rows", f"{field}.offsets")
        }
        sums = dict.fromkeys(files, 0)

        def append(name: str, values: np.ndarray) -> None:
            # a checksum of what is on the disk would include a fault of the disk
            content = np.ascontiguousarray(values).tobytes()
            files[name].write(content)
            sums[name] = zlib.crc32(content, sums[name])

        for number in ProgressBar(range(len(data)), desc=f"packing {kind_of(settings)}"):
            item = data[number]
            for name in names:
                rows = getattr(item, name).numpy()
                append(f"{name}.rows", rows.astype(dtype))
                lengths[name].append(len(rows))
            if number % every == 0:  # refused now rather than when the disk is full
                done = sum(file.tell() for file in files.values())
                check_free_disk(folder, done * (len(data) - number - 1) // (number + 1), "packing")
        for name in names:
            append(f"{name}.rows", np.zeros(settings["source"]["dim"], dtype))
            append(f"{name}.offsets", offsets_of(lengths[name]).astype("<i8"))
        return {name: {"bytes": file.tell(), "crc32": sums[name]} for name, file in files.items()}


def same_samples(store: PackedStore, data: Items, settings: dict[str, Any]) -> bool:
    """Return whether a few items, evenly spread, are packed exactly as reading gives them.

    This finds changes that names, sizes and times of files do not tell.
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
    """Remove what a killed process left of a store; no other process may be packing meanwhile."""
    for remains in folder.parent.glob(f".{folder.name}-*.tmp"):
        shutil.rmtree(remains, ignore_errors=True)


class Packing:
    """The packed stores of a data module: each is opened once, and made if it is not usable.

    Args:
        folder: folder that holds a folder for each store.
        precision: type in which values are stored.
    """

    def __init__(self, folder: Path, precision: Precision) -> None:
        self.folder = folder
        self.precision = precision
        self._open: dict[Path, PackedStore] = {}

    def store(self, data: Items, checked: bool = False) -> PackedStore:
        """Return the packed store of some items, which is made unless it is there.

        Every checksum is compared when this object opens a store for the first time: reading
        everything once costs less than training on a damaged value, and warms the system's cache.

        Args:
            data: the items, whose features can be read.
            checked: True if another process of this run has just compared the checksums.

        Raises:
            UserError: the items cannot be read, or the store cannot be written.
        """
        settings = packed_settings(data, self.precision, self.folder)
        path = self.folder / folder_name(settings)
        known = self._open.get(path)
        if known is not None and known.settings == settings:
            return known
        try:
            self._open[path] = self._usable(data, path, settings, verify=not checked)
        except Unusable:
            self._open[path] = self._make(data, path, settings)
        return self._open[path]

    def _make(self, data: Items, path: Path, settings: dict[str, Any]) -> PackedStore:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with folder_lock(self.folder, f"{path}: another process is packing, waiting") as alone:
                try:  # it may have packed just this
                    return self._usable(data, path, settings)
                except Unusable as reason:
                    if path.exists():
                        print(f"{path} {reason}: packing again")
                if alone:
                    remove_remains(path)
                pack(data, path, settings)
                return self._usable(data, path, settings)
        except Unusable as reason:
            raise UserError(f"{path} {reason} just after packing: the disk may be faulty") from None
        except DiskFull as error:
            raise UserError(f"{error}, or {ADVICE}") from None
        except OSError as error:
            if error.errno in DISK_FULL:
                raise UserError(
                    f"{self.folder}: no room on the disk for packed features: make room, {ADVICE}"
                ) from None
            cause = os.strerror(error.errno) if error.errno else error
            raise UserError(f"{self.folder} cannot be written ({cause}): {ADVICE}") from None

    def _usable(
        self, data: Items, path: Path, settings: dict[str, Any], verify: bool = True
    ) -> PackedStore:
        store = PackedStore(path, settings, verify)
        if verify and not same_samples(store, data, settings):
            raise Unusable("differs from the features that it was packed from")
        return store
