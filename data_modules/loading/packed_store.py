"""A folder of packed features: its key, its files, their checksums.

It holds `manifest.json` and for each field two raw little-endian files: `<field>.rows`, the rows of
all items one after the other and a row of zeros, and `<field>.offsets`, int64.
"""

import hashlib
import json
import os
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from data_modules.loading.dataset import QueryDataset, VideoDataset
from data_modules.loading.gather import Field
from data_modules.readers.store import FeatureStore
from dreamprvr.core.errors import UserError
from dreamprvr.core.text import JSON_BYTES, read_bytes

Precision = Literal["float32", "float16"]
Items = VideoDataset | QueryDataset

FORMAT = 2  # version of the files; raise it whenever they, or pooling, change
RECORD = "manifest.json"


def fields_of(data: Items) -> tuple[str, ...]:
    """Return the names of the arrays of an item that are packed."""
    return ("clips", "frames") if isinstance(data, VideoDataset) else ("words",)


def packed_settings(data: Items, precision: Precision, ignore: Path) -> dict[str, Any]:
    """Collect all that the content of a packed store depends on, of JSON types.

    The source is known by the names, sizes and times of change of its files, so that they need not
    be read. A copied data set is packed again, since its files have other times.

    Args:
        data: the items that are packed, in their order.
        precision: type in which values are stored.
        ignore: folder that does not belong to the source.

    Raises:
        UserError: the features lie in no file.
    """
    sizes = data.sizes
    lengths = (
        {"num_clips": sizes.num_clips, "max_frames": sizes.max_frames}
        if isinstance(data, VideoDataset)
        else {"max_words": sizes.max_words}
    )
    return {
        "format": FORMAT,
        "fields": list(fields_of(data)),
        "lengths": lengths,
        "precision": precision,
        "ids": hashlib.blake2b("\0".join(data.ids).encode("utf-8", "surrogatepass")).hexdigest(),
        "source": {
            "path": "/".join(data.store.path.parts[-2:]),  # of sets with equal names of files
            "dataset": str(getattr(data.store, "name", "")),  # which of the arrays in it
            "dim": int(data.store.dim),
        },
        "files": _files(data.store, ignore),
    }


def stored_dtype(settings: dict[str, Any]) -> np.dtype:
    """Return the type of the rows, little-endian."""
    return np.dtype(settings["precision"]).newbyteorder("<")


def kind_of(settings: dict[str, Any]) -> str:
    """Return the kind of the packed items: "videos" or "captions"."""
    return "videos" if "clips" in settings["fields"] else "captions"


def folder_name(settings: dict[str, Any]) -> str:
    """Return the name of a store's folder, which depends on the settings and not on the files."""
    lasting = {name: settings[name] for name in settings if name not in ("format", "files")}
    digest = hashlib.blake2b(json.dumps(lasting, sort_keys=True).encode(), digest_size=8)
    return f"{kind_of(settings)}-{settings['precision']}-{digest.hexdigest()}"


def _files(store: FeatureStore, ignore: Path) -> dict[str, list[int]]:
    """Return the states of all files of a store, each by its name below the store's path."""
    for path in store.paths:
        if not path.exists():
            raise UserError(
                f"the features of {path} lie in no file, so whether packed ones are stale could "
                "not be told: leave out --data.packed"
            )
    if store.paths == [store.path] and store.path.is_file():
        return {store.path.name: _state(store.path)}
    states = {}
    for place in store.paths:
        if place.is_file():
            states[os.path.relpath(place, store.path)] = _state(place)
        for folder, inner, names in os.walk(place):
            inner[:] = [name for name in inner if Path(folder, name).resolve() != ignore.resolve()]
            for path in (Path(folder, name) for name in names):
                states[os.path.relpath(path, store.path)] = _state(path)
    return dict(sorted(states.items()))


def _state(path: Path) -> list[int]:
    status = path.stat()
    # the last time also changes where content is replaced but keeps its time of modification, as
    # with rsync -a and cp -p
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


class Unusable(Exception):
    """A folder whose content must not be used; the message gives the reason."""


class PackedStore:
    """Packed features, mapped into memory: all processes share what the system has read.

    Safe to pickle; the copy opens the same folder, and refuses it if it was replaced meanwhile.

    Args:
        folder: path of the store.
        settings: source and settings from which it must have been packed.
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
        """Source and settings from which the store was packed."""
        settings: dict[str, Any] = self._manifest["settings"]
        return settings

    @property
    def bytes(self) -> int:
        """Size of all files but the manifest."""
        return sum(file["bytes"] for file in self._manifest["files"].values())

    def field(self, name: str) -> Field:
        """Return a field, mapped into memory.

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
        """Map the bytes of a file into memory."""
        file = self._manifest["files"][name]
        try:
            content = np.memmap(self.folder / name, np.uint8, "r")
        except (OSError, ValueError):  # an empty file cannot be mapped
            raise Unusable(f"is damaged: {name} cannot be read") from None
        if len(content) != file["bytes"]:
            raise Unusable(f"is damaged: {name} has {len(content)} bytes, not {file['bytes']}")
        if verify and zlib.crc32(content.data) != file["crc32"]:
            raise Unusable(f"is damaged: {name} does not have its checksum")
        return content


def write_manifest(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return a manifest with its own checksum."""
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
