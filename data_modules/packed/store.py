"""A folder of packed features: opened, checked, mapped.

It holds `manifest.json` and for each field two raw little-endian files: `<field>.rows`, the rows of
all items one after the other and a row of zeros, and `<field>.offsets`, int64.
"""

import json
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data_modules.packed.checksums import has_checksums
from data_modules.packed.gather import Field
from data_modules.packed.settings import stored_dtype
from dreamprvr.core.errors import UserError
from dreamprvr.core.text import JSON_BYTES, read_bytes

RECORD = "manifest.json"


class Unusable(Exception):
    """A folder whose content must not be used; the message says why."""


class PackedStore:
    """Packed features, mapped into memory: all processes share what the system has read.

    Safe to pickle; the copy opens the same folder, and refuses it if it was replaced meanwhile.

    Args:
        folder: the folder.
        settings: what it must have been packed from and with.
        verify: compare all checksums, which reads everything once.

    Raises:
        Unusable: it is missing, was packed from or with something else, or is damaged.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], verify: bool) -> None:
        self.folder = folder
        self._manifest = _read_manifest(folder)
        if self._manifest.get("settings") != settings:
            raise Unusable("was packed from other files or with other settings")
        self._fields: dict[str, Field] | None = self._open(verify)

    def __getstate__(self) -> dict[str, object]:
        return {"folder": self.folder, "_manifest": self._manifest, "_fields": None}

    @property
    def settings(self) -> dict[str, Any]:
        """What it was packed from and with."""
        settings: dict[str, Any] = self._manifest["settings"]
        return settings

    @property
    def bytes(self) -> int:
        """Size of all files but the manifest."""
        return sum(file["bytes"] for file in self._manifest["files"].values())

    def field(self, name: str) -> Field:
        """A field, mapped.

        Raises:
            UserError: in another process than the one that opened the store, if it has changed.
        """
        if self._fields is None:
            try:
                if _read_manifest(self.folder) != self._manifest:
                    raise Unusable("has been replaced")
                self._fields = self._open(verify=False)
            except Unusable as reason:
                raise UserError(f"{self.folder} {reason} while in use: start again") from None
        return self._fields[name]

    def _open(self, verify: bool) -> dict[str, Field]:
        try:
            return self._map(verify)
        except (LookupError, TypeError, ValueError):  # its checksum is right, its content is not
            raise Unusable(f"is damaged: {RECORD} and the files differ") from None

    def _map(self, verify: bool) -> dict[str, Field]:
        dim, dtype = self.settings["source"]["dim"], stored_dtype(self.settings)
        fields = {}
        for name in self.settings["fields"]:
            rows = self._content(f"{name}.rows", verify).view(dtype).reshape(-1, dim)
            offsets = np.array(self._content(f"{name}.offsets", verify).view("<i8"), np.int64)
            if offsets[0] or (np.diff(offsets) < 1).any() or offsets[-1] != len(rows) - 1:
                raise Unusable(f"is damaged: {name}.offsets and {name}.rows differ")
            with warnings.catch_warnings():
                # the map is read-only, so that it costs no memory; nothing writes to its rows
                warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
                fields[name] = Field(torch.from_numpy(rows), offsets)
        return fields

    def _content(self, name: str, verify: bool) -> np.ndarray:
        """The bytes of a file, mapped."""
        file = self._manifest["files"][name]
        try:
            content = np.memmap(self.folder / name, np.uint8, "r")
        except (OSError, ValueError):  # an empty file cannot be mapped
            raise Unusable(f"is damaged: {name} cannot be read") from None
        if len(content) != file["bytes"]:
            raise Unusable(f"is damaged: {name} has {len(content)} bytes, not {file['bytes']}")
        if verify and not has_checksums(content, file["crc32"]):
            raise Unusable(f"is damaged: {name} does not have its checksums")
        return content


def write_manifest(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest with its own checksum."""
    return {**manifest, "crc32": _crc(manifest)}


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        if not (folder / RECORD).exists():
            raise Unusable("is missing")
        manifest = json.loads(read_bytes(folder / RECORD, JSON_BYTES))
        if not isinstance(manifest, dict) or manifest.pop("crc32", None) != _crc(manifest):
            raise ValueError
    except (UserError, ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
        raise Unusable(f"is damaged: {RECORD} does not have its checksum") from None
    return manifest


def _crc(manifest: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(manifest, sort_keys=True).encode())
