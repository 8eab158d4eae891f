"""Arrays in .npz and .npy files, read as data of unknown origin: nothing in them is unpickled."""

import io
import math
import os
import zipfile
from pathlib import Path

import numpy as np

from data_modules.readers.store import FeatureStore, some
from dreamprvr.core.errors import UserError
from dreamprvr.core.files import open_regular, reason
from dreamprvr.core.text import quote

ENDINGS = (".npz", ".npy")
LARGEST = 2**30
"""Largest array that is read, in bytes: 8,000 rows of the widest features in use make 0.2 GB."""
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class ArrayFolder(FeatureStore):
    """A folder with a file for each id: `<id>.npz`, or `<id>.npy`.

    Files of other endings, hidden files and folders in the folder are passed over. Links are not
    followed.

    Args:
        folder: path of the folder.
        name: array to read in each .npz file; not needed where a file holds only one.

    Raises:
        UserError: the folder cannot be read, it holds no such file or two of one id, or the first
            file is damaged.
    """

    def __init__(self, folder: str | Path, name: str | None = None) -> None:
        self.path, self.name = Path(folder), name or ""
        self._files: dict[str, str] = {}
        for file in array_files(self.path):
            other = self._files.setdefault(os.path.splitext(file)[0], file)
            if other != file:
                raise UserError(f"{self.path} has {quote(other)} and {quote(file)}: keep one")
        if not self._files:
            raise UserError(f"{self.path} holds no features: expected a file <id>.npz for each id")
        first = next(iter(self._files))
        shape = self.shape_of(first)
        if len(shape) not in (1, 2) or not shape[-1]:
            raise UserError(f"{self.path}: {quote(first)} has shape {shape}, not (rows, size)")
        self.dim = shape[-1]

    def keys(self) -> list[str]:
        """List the names of all files, without their endings."""
        return list(self._files)

    def has(self, name: str) -> bool:
        """Return whether there is a file of this name."""
        return name in self._files

    def load(self, name: str) -> np.ndarray:
        """Read the file of an id."""
        return read_array(self.path / self._files[name], self.name)


def array_files(folder: Path) -> list[str]:
    """List the names of the .npz and .npy files of a folder, in alphabetical order.

    Raises:
        UserError: the folder cannot be read.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {reason(error)}") from None
    return [name for name in names if name.endswith(ENDINGS) and not name.startswith(".")]


def read_array(path: Path, name: str = "") -> np.ndarray:
    """Read an array of floating-point numbers.

    Args:
        path: a .npz or .npy file; a link is refused.
        name: the array to read in a .npz file; "" where it holds only one.

    Raises:
        UserError: the file cannot be read, is damaged, or holds something else.
    """
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            if path.suffix == ".npz":
                array = _array(_part(path, file, name))
            else:
                array = _array(file.read(LARGEST + 1))
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path} cannot be read: {reason(error)}") from None
    except Exception:  # zipfile, zlib and NumPy raise whatever their parsers run into
        raise UserError(f"{path} is damaged: copy or download it again") from None
    if array.dtype.kind != "f":
        raise UserError(f"{path} holds {array.dtype}, not floating-point numbers")
    return array


def _part(path: Path, file: io.BufferedReader, name: str) -> bytes:
    """Read the bytes of one array of a .npz file; zipfile compares their CRC-32."""
    with zipfile.ZipFile(file) as archive:
        parts = {part.filename.removesuffix(".npy"): part for part in archive.infolist()}
        if not name and len(parts) != 1:
            raise UserError(
                f"{path} holds {some(list(parts), 'array')}: name one of them by `group` "
                "(videos) or `text_group` (captions) of the feature set"
            )
        part = parts.get(name or next(iter(parts)))
        if part is None:
            there = some(list(parts), "array")
            raise UserError(f"{path} has no array {quote(name)}; it has {there}")
        with archive.open(part) as content:
            return content.read(LARGEST + 1)


def _array(content: bytes) -> np.ndarray:
    """Make an array of the content of a .npy file; ValueError if it is anything else."""
    if len(content) > LARGEST:
        raise ValueError("too large")
    stream = io.BytesIO(content)
    shape, fortran, dtype = _HEADERS[np.lib.format.read_magic(stream)](stream)
    begin = stream.tell()
    if dtype.hasobject or len(content) - begin != math.prod(shape) * dtype.itemsize:
        raise ValueError("another number of bytes than the shape says")
    array = np.frombuffer(content, dtype, offset=begin)
    return array.reshape(shape, order="F" if fortran else "C")


def read_npz(path: Path, remedy: str) -> dict[str, np.ndarray]:
    """Read all arrays of a file that `numpy.savez` wrote for a later run of this program.

    The CRC-32 of each array is compared. Compressed arrays, which could grow without bound, are
    refused.

    Args:
        path: the file.
        remedy: what to do about a damaged file, for the message.

    Returns:
        The arrays by name.

    Raises:
        UserError: the file is missing, cannot be read or is damaged.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            for part in archive.infolist():
                if part.compress_type != zipfile.ZIP_STORED or part.file_size > size:
                    raise ValueError(f"{part.filename} is packed")
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception:  # zipfile, zlib and NumPy raise whatever their parsers run into
        raise UserError(f"{path} is damaged: {remedy}") from None
