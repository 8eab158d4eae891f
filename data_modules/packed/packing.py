"""The packed features that a data module uses: found, or packed by one process for all."""

import os
from pathlib import Path
from typing import Any

from data_modules.packed.pack import pack, remove_remains, same_samples
from data_modules.packed.settings import Items, Precision, folder_name, packed_settings
from data_modules.packed.store import PackedStore, Unusable
from dreamprvr.core.errors import UserError
from dreamprvr.core.files import NO_ROOM, NoRoom
from dreamprvr.core.locks import folder_lock

ADVICE = "name another folder with --data.packed_folder, or leave out --data.packed"


class Packing:
    """Opens packed stores, each once, and makes those that are missing, stale or damaged.

    Args:
        folder: holds a folder for each store.
        precision: how values are stored.
    """

    def __init__(self, folder: Path, precision: Precision) -> None:
        self.folder = folder
        self.precision = precision
        self._open: dict[Path, PackedStore] = {}

    def store(self, data: Items, checked: bool = False) -> PackedStore:
        """The packed store of some items.

        Every checksum is compared when this object opens a store for the first time: reading
        everything once costs less than training on a damaged value, and warms the system's cache.

        Args:
            data: the items, whose source is at hand.
            checked: another process of this run has compared the checksums just now.

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
        except NoRoom as error:
            raise UserError(f"{error}, or {ADVICE}") from None
        except OSError as error:
            if error.errno in NO_ROOM:
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
