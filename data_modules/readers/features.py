"""Features by id in whatever form they were published, and features of several encoders joined."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import h5py
import numpy as np

from data_modules.readers.bigfile import BigFileFeatures
from data_modules.readers.hdf5 import (
    H5_ERRORS,
    GroupedHdf5Features,
    Hdf5Features,
    follow,
    open_hdf5,
    reason_of,
)
from data_modules.readers.npz import ArrayFolder, array_files
from data_modules.readers.store import FeatureStore
from dreamprvr.core.errors import UserError
from dreamprvr.core.text import quote
from dreamprvr.core.vectors import unit

ROWS_APART = 2
"""Rows by which the parts of joined features may differ: encoders round a video's end otherwise."""


class JoinedFeatures(FeatureStore):
    """Features of several encoders joined: a row is the rows of all parts, one after the other.

    Where the parts of an id have different numbers of rows (by at most `ROWS_APART`), the surplus
    rows at the end are left out.

    Args:
        parts: stores of the encoders, in the order in which their rows are joined.
        normalise: divide each row of each part by its length before joining, so that no encoder
            outweighs the others.
    """

    def __init__(self, parts: Sequence[FeatureStore], normalise: bool = False) -> None:
        if not parts:
            raise UserError("joined features need at least one part")
        self.parts, self.normalise = tuple(parts), normalise
        paths = [part.path for part in parts]
        if len({path.is_absolute() for path in paths}) > 1:
            paths = [path.absolute() for path in paths]
        self.path = Path(os.path.commonpath(paths))
        self.dim = sum(part.dim for part in parts)

    @property
    def name(self) -> str:
        """A text that differs for other parts, another order of parts or another scale."""
        names = [f"{part.path.name}:{getattr(part, 'name', '')}" for part in self.parts]
        return "+".join([*names, "normalised"] if self.normalise else names)

    @property
    def paths(self) -> list[Path]:
        """The files and folders of all parts."""
        return [path for part in self.parts for path in part.paths]

    @property
    def fingerprint(self) -> str:
        """The names of all encoders; "" if one of the parts does not say."""
        names = [part.fingerprint for part in self.parts]
        return "+".join(names) if all(names) else ""

    def keys(self) -> list[str]:
        """List the ids that all parts have, as the first part spells them."""
        return [name for name in self.parts[0].keys() if self.has(name)]  # noqa: SIM118 - no mapping

    def has(self, name: str) -> bool:
        """Return whether all parts have an id."""
        return all(name in part for part in self.parts)

    def load(self, name: str) -> np.ndarray:
        """Read the rows of all parts and join them."""
        parts = [part[name] for part in self.parts]
        lengths = [len(rows) for rows in parts]
        if max(lengths) - min(lengths) > ROWS_APART:
            raise UserError(
                f"{self.path}: the encoders have {', '.join(map(str, lengths))} rows of "
                f"{quote(name)}: extract all with the same number of rows per second"
            )
        rows = [rows[: min(lengths)] for rows in parts]
        return np.concatenate([unit(part) for part in rows] if self.normalise else rows, axis=1)

    def refuse_missing(self, ids: Iterable[str], noun: str) -> None:
        """Refuse the first part that lacks an id which is needed; see `FeatureStore`."""
        ids = list(ids)
        for part in self.parts:
            part.refuse_missing(ids, noun)


def open_features(path: str | Path, name: str | None = None) -> FeatureStore:
    """Open the features that lie at a path.

    Args:
        path: an HDF5 file, or a folder with feature.hdf5, a big file, or a .npz or .npy file for
            each id. The first of these that is there is taken.
        name: the dataset to read in an HDF5 file with a group per id, or the array in each .npz
            file; not needed where these hold only one.

    Raises:
        UserError: nothing readable is there, or `name` is missing or does not apply.
    """
    path = Path(path)
    if path.is_dir():
        if (path / "feature.hdf5").exists():
            return open_features(path / "feature.hdf5", name)
        if (path / "feature.bin").exists():
            if name is not None:
                raise UserError(
                    f"{path} is a big file, which has no {quote(name)}: leave the name out"
                )
            return BigFileFeatures(path)
        if array_files(path):
            return ArrayFolder(path, name)
        raise UserError(
            f"{path} holds neither feature.hdf5 nor feature.bin nor .npz files: no features here"
        )
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
    """List the datasets of the first group of the root; None if the file is flat."""
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
