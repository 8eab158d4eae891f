"""What a packed store is made from and with: the key of its folder, and how to tell it is stale."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np

from data_modules.dataset import QueryDataset, VideoDataset
from data_modules.feature_store import FeatureStore
from dreamprvr.core.errors import UserError

Precision = Literal["float32", "float16"]
Items = VideoDataset | QueryDataset

FORMAT = 1  # of the files; one more whenever these, or pooling, change


def fields_of(data: Items) -> tuple[str, ...]:
    """The arrays of an item that are packed."""
    return ("clips", "frames") if isinstance(data, VideoDataset) else ("words",)


def packed_settings(data: Items, precision: Precision, ignore: Path) -> dict[str, Any]:
    """All that the content of a packed store depends on, of JSON types.

    The source is known by the names, sizes and times of change of its files, which costs no reading
    of them. A copied data set is packed again: its files are others.

    Args:
        data: the items that are packed, in their order.
        precision: how values are stored.
        ignore: a folder that is none of the source.

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
            "path": data.store.path.name,
            "dataset": str(getattr(data.store, "name", "")),  # inside each group of an HDF5 file
            "dim": int(data.store.dim),
        },
        "files": _files(data.store, ignore),
    }


def stored_dtype(settings: dict[str, Any]) -> np.dtype:
    """The type of the rows, little-endian."""
    return np.dtype(settings["precision"]).newbyteorder("<")


def kind_of(settings: dict[str, Any]) -> str:
    """What is packed: "videos" or "captions"."""
    return "videos" if "clips" in settings["fields"] else "captions"


def folder_name(settings: dict[str, Any]) -> str:
    """The folder of a store: the same when its source changes, another with other settings."""
    lasting = {name: settings[name] for name in settings if name not in ("format", "files")}
    digest = hashlib.blake2b(json.dumps(lasting, sort_keys=True).encode(), digest_size=8)
    return f"{kind_of(settings)}-{settings['precision']}-{digest.hexdigest()}"


def _files(store: FeatureStore, ignore: Path) -> dict[str, list[int]]:
    if not store.path.exists():
        raise UserError(
            f"the features of {store.path} lie in no file, so whether packed ones are stale could "
            "not be told: leave out --data.packed"
        )
    if store.path.is_file():
        return {store.path.name: _state(store.path)}
    found = {}
    for folder, inner, names in os.walk(store.path):
        inner[:] = [name for name in inner if Path(folder, name).resolve() != ignore.resolve()]
        for path in (Path(folder, name) for name in names):
            found[path.relative_to(store.path).as_posix()] = _state(path)
    return dict(sorted(found.items()))


def _state(path: Path) -> list[int]:
    status = path.stat()
    # the last also tells of content that was replaced with the old time of modification, as
    # rsync -a and cp -p do
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
