"""Features in HDF5 files, flat or with a group per id.

The files are other people's: nothing in them may lead to another file, and an id is only ever one
link name, never a path.
"""

import errno
import math
import os
import re
import shlex
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self

import h5py
import numpy as np

from data_modules.readers.hdf5_check import Fault, check_structure
from data_modules.readers.store import FeatureStore
from dreamprvr.core.errors import UserError
from dreamprvr.core.file_kinds import HDF5, UNKNOWN, described, kind_of
from dreamprvr.core.text import quote

# Attributes of what we write ourselves; compared wherever they are there.
ROWS_SUM, ATTRIBUTES_SUM = "rows_crc32", "attributes_crc32"
# Room for the tables of HDF5 beside the rows: a few hundred bytes a dataset, and copies when these
# grow.
SPARE_BYTES = 4 * 2**20
# What h5py raises on files that are truncated, damaged or hostile.
H5_ERRORS = (OSError, RuntimeError, ValueError, LookupError, TypeError, OverflowError, MemoryError)


class UnavailableError(UserError):
    """The refusal of a file that may be whole, but cannot be opened now or by this user."""


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
        shape = self.shape_of(first)
        if len(shape) not in (1, 2) or not shape[-1]:
            raise UserError(f"{self.path}: {quote(first)} has shape {shape}, not (rows, size)")
        self.dim = int(shape[-1])

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_handle": None}

    @property
    def fingerprint(self) -> str:
        """The root attribute that `lightning extract` writes; "" if there is none."""
        try:
            fingerprint = plain_text(self._file().attrs.get("fingerprint", ""))
        except H5_ERRORS:  # a damaged attribute says nothing
            return ""
        return fingerprint if isinstance(fingerprint, str) else ""

    def keys(self) -> list[str]:
        """List all ids, as the file spells them."""
        return list(self._names())

    def _wanted(self) -> str:
        return ": expected a dataset per id"

    def _names(self) -> Iterator[str]:
        with self._reading("its list of names"):
            for name in self._file():  # h5py leaves names that are not UTF-8 as bytes
                yield name.decode(errors="surrogateescape") if isinstance(name, bytes) else name

    def _parts(self, name: str) -> tuple[str, ...]:
        """Return the link names from the root to the dataset."""
        return (name,)

    def _file(self) -> h5py.File:
        if self._handle is None or self._handle[0] != os.getpid():
            self._handle = (os.getpid(), open_hdf5(self.path))
        return self._handle[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; a later call opens it again."""
        if self._handle is not None:
            self._handle[1].close()
            self._handle = None

    def has(self, name: str) -> bool:
        """Return whether the file has this id."""
        *groups, last = self._parts(name)
        with self._reading(quote(name)):
            node: object = self._file()
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
            raise UserError(f"{self.path}: {quote(name)} is no dataset{self._wanted()}")
        if node.is_virtual or node.external:
            raise UserError(f"{self.path}: {quote(name)} keeps its data in another file: not read")
        if node.dtype.kind != "f":
            raise UserError(
                f"{self.path}: {quote(name)} holds {node.dtype}, not floating-point numbers"
            )
        return node

    def shape_of(self, name: str) -> tuple[int, ...]:
        """Return the shape of an id's features, without reading them."""
        with self._reading(quote(name)):
            return self._dataset(name).shape or ()

    def load(self, name: str) -> np.ndarray:
        """Read the features of an id."""
        with self._reading(quote(name)):
            dataset = self._dataset(name)
            if not _is_stored(dataset):
                raise ValueError("rows that were never written")
            stored = dataset[()]
            if ROWS_SUM in (held := dataset.attrs) and held[ROWS_SUM] != checksum(name, [stored]):
                raise ValueError("its values changed since they were written")
            return np.asarray(stored)

    def _attributes(self, name: str) -> dict[str, Any]:
        """Read all attributes of a dataset, or with "" of the file, and compare their checksum.

        Raises:
            UserError: they cannot be read, or differ from what was written.
        """
        with self._reading(quote(name) if name else "its attributes"):
            held = self._dataset(name).attrs if name else self._file().attrs
            attributes = {key: plain_text(value) for key, value in held.items()}
            written = attributes.pop(ATTRIBUTES_SUM, None)
            if written is not None and written != attributes_checksum(name, attributes):
                raise ValueError("its attributes changed since they were written")
            return attributes

    @contextmanager
    def _reading(self, part: str) -> Iterator[None]:
        """Turn an error of HDF5 into one line that names the unreadable part."""
        try:
            yield
        except H5_ERRORS as error:
            raise UserError(
                f"{self.path}: cannot read {part} ({reason_of(error)}): copy or download the file "
                "again"
            ) from None


class GroupedHdf5Features(Hdf5Features):
    """An HDF5 file with a group per id that holds, among others, the dataset `name`.

    Args:
        path: path of the file.
        name: name of the dataset, such as "i3d_feat" or "clip_feat".
    """

    def __init__(self, path: str | Path, name: str) -> None:
        self.name = name
        super().__init__(path)

    def _wanted(self) -> str:
        return f": expected a group per id that holds {quote(self.name)}"

    def _names(self) -> Iterator[str]:
        yield from (name for name in super()._names() if self.has(name))

    def _parts(self, name: str) -> tuple[str, ...]:
        return (name, self.name)


def open_hdf5(path: Path, mode: Literal["r", "r+"] = "r") -> h5py.File:
    """Open an HDF5 file that is there.

    Its structure is checked by another process when this state of it is seen first, so that no
    damage to it ends or hangs this one (`data_modules.readers.hdf5_check`).

    Args:
        path: the file.
        mode: "r" to read, "r+" to read and write.

    Raises:
        UnavailableError: it is locked or unreadable.
        UserError: it is missing, no HDF5 file, left open or damaged.
    """
    _check_kind(path)
    fault = check_structure(path)
    if fault is None:
        try:
            return h5py.File(path, mode)
        except H5_ERRORS as error:
            fault = Fault(getattr(error, "errno", None), str(error))
    kind = UserError if fault.errno is None else UnavailableError
    raise kind(f"{path} {_cause(path, fault)}")


def _check_kind(path: Path) -> None:
    """Refuse what cannot be an HDF5 file, by what it is instead."""
    if not path.exists():
        raise UserError(f"{path} is missing: expected an HDF5 file, or a folder with features")
    if not path.is_file() and not path.is_dir():
        raise UserError(f"{path} is no regular file: expected an HDF5 file")
    # a file that may not be read is of an unknown kind: to open it gives the reason
    if kind_of(path) not in (HDF5, UNKNOWN):
        raise UserError(f"{path} is {described(path, 'an HDF5 file of features')}")


def _cause(path: Path, fault: Fault) -> str:
    """Say why HDF5 cannot open a file, and what to do."""
    if "unable to lock file" in fault.message and fault.errno is not None:
        if fault.errno in (errno.EAGAIN, errno.EWOULDBLOCK):
            return "is being written by another program: wait for it"
        return (
            f"cannot be locked ({os.strerror(fault.errno)}), as its disk has no file locks: set "
            "HDF5_USE_FILE_LOCKING=FALSE in the environment, and let nothing write it meanwhile"
        )
    if "already open for" in fault.message:
        return (
            "was not closed by its writer: wait if a program still writes it; if that was killed, "
            f"`h5clear -s {shlex.quote(str(path))}` frees what it wrote"
        )
    if fault.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"may not be opened ({os.strerror(fault.errno)}): check its permissions"
    if fault.errno is not None:
        return f"cannot be read: {os.strerror(fault.errno)}"
    if match := re.search(r"truncated file: eof = (\d+).*stored_eof = (\d+)", fault.message):
        there, whole = (int(number) for number in match.groups())
        return f"is truncated, {there:,} of {whole:,} bytes: copy or download it again"
    return f"is damaged ({reason_of(fault.message)}): copy or download it again"


def reason_of(error: object) -> str:
    """Return the first line of an error of h5py, without quotes."""
    return (str(error).strip("'\"").splitlines() or [type(error).__name__])[0]


def checksum(name: str, blocks: Iterable[np.ndarray]) -> int:
    """Compute the CRC-32 of a dataset's name and of its rows, as they are stored.

    Args:
        name: name of the dataset, so that rows under another name are noticed.
        blocks: arrays that make up the rows, in their order.
    """
    crc = zlib.crc32(name.encode("utf-8", "surrogateescape"))
    for block in blocks:
        if block.size:  # an empty array has no bytes to cast to
            crc = zlib.crc32(np.ascontiguousarray(block).data.cast("B"), crc)
    return crc


def attributes_checksum(name: str, attributes: Mapping[str, Any]) -> int:
    """Compute the CRC-32 of the attributes of a dataset, or with "" of the file.

    Args:
        name: name of the dataset.
        attributes: text, bytes, and numbers of Python or NumPy, without this checksum.
    """
    plain = [
        (key, value.tolist() if isinstance(value, np.ndarray | np.generic) else value)
        for key, value in sorted(attributes.items())
    ]
    return zlib.crc32(repr((name, plain)).encode("utf-8", "surrogatepass"))


def write_rows(file: h5py.File, name: str, rows: np.ndarray) -> h5py.Dataset:
    """Write rows (N, F) as a new dataset with their checksum, which reading compares."""
    dataset = file.create_dataset(name, data=rows)
    dataset.attrs[ROWS_SUM] = checksum(name, [rows])
    return dataset


def write_attributes(node: h5py.HLObject, name: str, attributes: Mapping[str, Any]) -> None:
    """Write the attributes of a dataset, or with "" of the file, and the checksum of all."""
    node.attrs.update(attributes)
    plain = {key: plain_text(value) for key, value in node.attrs.items()}
    plain.pop(ATTRIBUTES_SUM, None)
    node.attrs[ATTRIBUTES_SUM] = attributes_checksum(name, plain)


def plain_text(value: object) -> Any:
    """Return an attribute's text, no matter if it was stored as bytes or as characters."""
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


def _is_stored(dataset: h5py.Dataset) -> bool:
    """Return whether all rows lie in the file; HDF5 reads zeros where they do not."""
    if dataset.chunks is None:
        return bool(dataset.id.get_storage_size() == dataset.nbytes)
    chunks = zip(dataset.shape, dataset.chunks, strict=True)
    return bool(dataset.id.get_num_chunks() == math.prod(-(-size // part) for size, part in chunks))


def link_name(name: str) -> bytes | None:
    """Return the bytes of a single link name; None if it cannot be one ("." and "/" are paths)."""
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        return None
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return None


def holds(group: h5py.Group, name: str) -> bool:
    """Return whether a group has a link of just this name."""
    link = link_name(name)
    return link is not None and group.id.links.exists(link)


def follow(group: h5py.Group, name: str) -> object:
    """Return the object behind a link of a group; refuse a link that leads out of the file."""
    link = link_name(name)
    if link is None or group.id.links.get_info(link).type != h5py.h5l.TYPE_HARD:
        raise UserError(
            f"{group.file.filename}: {quote(name)} is a link to somewhere else: not read"
        )
    return group[link]
