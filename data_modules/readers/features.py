"""Features by id, in whatever form they were published: `open_features` finds out which it is."""

from pathlib import Path

import h5py

from data_modules.readers.bigfile import BigFileFeatures
from data_modules.readers.hdf5 import (
    H5_ERRORS,
    GroupedHdf5Features,
    Hdf5Features,
    follow,
    open_hdf5,
    reason_of,
)
from data_modules.readers.store import FeatureStore
from dreamprvr.core.errors import UserError
from dreamprvr.core.text import quote

__all__ = [
    "BigFileFeatures",
    "FeatureStore",
    "GroupedHdf5Features",
    "Hdf5Features",
    "open_features",
]


def open_features(path: str | Path, name: str | None = None) -> FeatureStore:
    """Open whatever features lie at a path.

    Args:
        path: an HDF5 file, or a folder with feature.hdf5 (taken first) or a big file.
        name: the dataset to read in an HDF5 file with a group per id; not needed where the groups
            hold only one.

    Raises:
        UserError: if nothing readable is there, or `name` is missing or does not apply.
    """
    path = Path(path)
    if path.is_dir():
        if (path / "feature.hdf5").exists():
            return open_features(path / "feature.hdf5", name)
        if not (path / "feature.bin").exists():
            raise UserError(f"{path} holds neither feature.hdf5 nor feature.bin: no features here")
        if name is not None:
            raise UserError(f"{path} is a big file, which has no {quote(name)}: leave the name out")
        return BigFileFeatures(path)
    inner = _inner_names(path)
    if inner is None:
        if name is not None:
            raise UserError(
                f"{path} has no groups that could hold {quote(name)}: leave the name out"
            )
        return Hdf5Features(path)
    if name is None and len(inner) != 1:
        raise UserError(f"{path} holds several features per id: choose a name of {inner}")
    return GroupedHdf5Features(path, name or inner[0])


def _inner_names(path: Path) -> list[str] | None:
    """The datasets of the first group of the root, or None if the file is flat."""
    with open_hdf5(path) as file:
        try:
            first = next(iter(file), None)
            if first is None or not isinstance(group := follow(file, first), h5py.Group):
                return None
            return sorted(group)
        except H5_ERRORS as error:
            raise UserError(
                f"{path} is damaged ({reason_of(error)}): copy or download it again"
            ) from None
