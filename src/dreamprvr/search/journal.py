"""What a writer is about to do to a library, written down first so that a kill loses nothing.

`interrupted.npz` lies in the engine's folder while something is written. It names the videos that
may be half written then, and holds those whole that replace older versions: their old version is
acknowledged, so taking the half written one out would lose it.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data_modules.readers.npz import read_npz
from dreamprvr.core.errors import UserError
from dreamprvr.core.files import atomic_path, sync
from dreamprvr.search.engine import Record

NAME = "interrupted.npz"
REMEDY = "index into a new folder"
_VECTORS = ("clips", "frames", "segments", "registers")


class Interrupted(NamedTuple):
    """What a killed writer was doing.

    Args:
        video_ids: of all videos that it wrote or removed.
        records: those of them to write again; the others are to be removed.
    """

    video_ids: list[str]
    records: list[Record]


class Journal:
    """The journal of a folder.

    Args:
        folder: of the engine.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME

    def is_open(self) -> bool:
        """Whether a writer is at work, or was killed at it."""
        return self.path.exists()

    def open(self, video_ids: Sequence[str], records: Sequence[Record] = ()) -> None:
        """Write down, on the disk, what is about to be done; see `Interrupted`."""
        payloads = [{"video_id": record.video_id, "payload": record.payload} for record in records]
        note = json.dumps({"video_ids": list(video_ids), "records": payloads})
        arrays: dict[str, Any] = {"note": np.frombuffer(note.encode(), np.uint8)}
        for number, record in enumerate(records):
            arrays |= {f"{name}_{number}": getattr(record, name) for name in _VECTORS}
        with atomic_path(self.path) as partial:
            with partial.open("wb") as file:
                np.savez(file, **arrays)
            sync(partial)

    def read(self, dim: int) -> Interrupted:
        """What was written down.

        Args:
            dim: D, numbers in each row of the library.

        Raises:
            UserError: the file is damaged, or of another library.
        """
        arrays = read_npz(self.path, REMEDY)
        try:
            note = json.loads(arrays["note"].tobytes())
            records = [
                Record(
                    _text(held["video_id"]), payload=dict(held["payload"]),
                    **{name: _rows(arrays[f"{name}_{number}"], dim) for name in _VECTORS},
                )
                for number, held in enumerate(note["records"])
            ]  # fmt: skip
            return Interrupted([_text(name) for name in note["video_ids"]], records)
        except (ValueError, TypeError, LookupError, RecursionError):
            raise UserError(f"{self.path} is damaged: {REMEDY}") from None

    def close(self) -> None:
        """All of it is on the disk."""
        self.path.unlink()


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _rows(values: np.ndarray, dim: int) -> np.ndarray:
    if values.ndim != 2 or values.shape[1] != dim or values.dtype != np.float32:
        raise ValueError
    if not np.isfinite(values).all():
        raise ValueError
    return values
