"""Features in HDF5 files, flat or with a group per id.

The files are other people's: nothing in them may lead to another file, and an id is only ever one
link name, never a path.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from data_modules.feature_store import FeatureStore
from dreamprvr.errors import UserError

# What h5py raises on files that are truncated, damaged or hostile.
H5_ERRORS = (OSError, RuntimeError, ValueError, KeyError, TypeError, MemoryError)


class Hdf5Features(FeatureStore):
    """An HDF5 file with one root dataset per id, of any floating-point type.

    Only datasets of the file itself are read: links and external storage, which would reach into
    other files, are refused.

    Args:
        path: the file. It is opened when first needed, once in each process.

    Raises:
        UserError: if the file is missing, no HDF5, empty, or of another layout.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._handle: tuple[int, h5py.File] | None = None
        first = next(self._names(), None)
        if first is None:
            raise UserError(f"{self.path} holds no features{self._wanted()}")
        shape = self._shape(first)
        if len(shape) not in (1, 2) or not shape[-1]:
            raise UserError(f"{self.path}: {first!r} has shape {shape}, not (rows, size)")
        self.dim = int(shape[-1])

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_handle": None}

    @property
    def fingerprint(self) -> str:
        """The root attribute that `lightning extract` writes; "" if there is none."""
        try:
            found = self._file().attrs.get("fingerprint", "")
        except H5_ERRORS:  # a damaged attribute says nothing
            return ""
        found = found.decode(errors="replace") if isinstance(found, bytes) else found
        return found if isinstance(found, str) else ""

    def keys(self) -> list[str]:
        """All ids, as the file spells them."""
        return list(self._names())

    def _wanted(self) -> str:
        return ": expected a dataset per id"

    def _names(self) -> Iterator[str]:
        for name in self._file():  # h5py leaves names that are not UTF-8 as bytes
            yield name.decode(errors="surrogateescape") if isinstance(name, bytes) else name

    def _parts(self, name: str) -> tuple[str, ...]:
        """The link names from the root to the dataset."""
        return (name,)

    def _file(self) -> h5py.File:
        if self._handle is None or self._handle[0] != os.getpid():
            self._handle = (os.getpid(), open_hdf5(self.path))
        return self._handle[1]

    def _has(self, name: str) -> bool:
        node: object = self._file()
        *groups, last = self._parts(name)
        for part in groups:
            if not isinstance(node, h5py.Group) or not holds(node, part):
                return False
            node = follow(node, part)
        return isinstance(node, h5py.Group) and holds(node, last)

    def _dataset(self, name: str) -> h5py.Dataset:
        node: object = self._file()
        for part in self._parts(name):
            if isinstance(node, h5py.Group):
                node = follow(node, part)
        if not isinstance(node, h5py.Dataset):
            raise UserError(f"{self.path}: {name!r} is no dataset{self._wanted()}")
        if node.is_virtual or node.external:
            raise UserError(f"{self.path}: {name!r} keeps its data in another file: not read")
        if node.dtype.kind != "f":
            raise UserError(f"{self.path}: {name!r} holds {node.dtype}, not floating-point numbers")
        return node

    def _shape(self, name: str) -> tuple[int, ...]:
        try:
            return self._dataset(name).shape or ()
        except H5_ERRORS as error:
            raise self._damaged(name, error) from None

    def _read(self, name: str) -> np.ndarray:
        try:
            return self._dataset(name).astype(np.float32)[()]
        except H5_ERRORS as error:
            raise self._damaged(name, error) from None

    def _damaged(self, name: str, error: BaseException) -> UserError:
        reason = (str(error).strip("'\"").splitlines() or [type(error).__name__])[0]
        return UserError(
            f"{self.path}: cannot read {name!r} ({reason}): copy or download the file again"
        )


class GroupedHdf5Features(Hdf5Features):
    """An HDF5 file with a group per id that holds, among others, the dataset `name`.

    Args:
        path: the file.
        name: e.g. "i3d_feat" or "clip_feat".
    """

    def __init__(self, path: str | Path, name: str) -> None:
        self.name = name
        super().__init__(path)

    def _wanted(self) -> str:
        return f": expected a group per id that holds {self.name!r}"

    def _names(self) -> Iterator[str]:
        yield from (name for name in super()._names() if self._has(name))

    def _parts(self, name: str) -> tuple[str, ...]:
        return (name, self.name)


def open_hdf5(path: Path) -> h5py.File:
    """Open an HDF5 file for reading, or say in one line why that is impossible."""
    if not path.is_file():
        raise UserError(f"{path} is missing: expected an HDF5 file, or a folder with features")
    try:
        return h5py.File(path, "r")
    except PermissionError:
        raise UserError(f"{path} may not be read: check its permissions") from None
    except BlockingIOError:
        raise UserError(f"{path} is being written by another program: wait for it") from None
    except H5_ERRORS:
        raise UserError(
            f"{path} is truncated or not an HDF5 file: copy or download it again"
        ) from None


def link_name(name: str) -> bytes | None:
    """The bytes of a single link name; None if it cannot be one ("." and "/" are paths)."""
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        return None
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return None


def holds(group: h5py.Group, name: str) -> bool:
    """Whether a group has a link of just this name."""
    link = link_name(name)
    return link is not None and group.id.links.exists(link)


def follow(group: h5py.Group, name: str) -> object:
    """The object behind a link of a group, unless the link leads out of the group's file."""
    link = link_name(name)
    if link is None or group.id.links.get_info(link).type != h5py.h5l.TYPE_HARD:
        raise UserError(f"{group.file.filename}: {name!r} is a link to somewhere else: not read")
    return group[link]
