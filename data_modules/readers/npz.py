"""Files of arrays that one run leaves to the next, read as data of unknown origin."""

import zipfile
from pathlib import Path

import numpy as np

from dreamprvr.core.errors import UserError


def read_npz(path: Path, remedy: str) -> dict[str, np.ndarray]:
    """Read a file that `numpy.savez` wrote.

    Each array in it has a CRC-32, which is compared. Nothing is unpickled, and nothing unpacked:
    compressed parts, which could grow without bound, are refused.

    Args:
        path: the file.
        remedy: what to do about a damaged one, for the message.

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
