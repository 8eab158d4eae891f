"""The journal of a writer, so that no video is lost if the writer is killed.

`interrupted.npz` lies in the engine's folder during a write. It names the videos that may be left
half written. It also holds the full data of videos that replace older versions: an earlier write
has promised to keep these videos, so they cannot simply be removed.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data_modules.readers.npz import read_npz
from dreamprvr.core.errors import UserError
from dreamprvr.core.files import atomic_path, sync
from dreamprvr.search.engine.interface import SEGMENTS, Layout, Record

NAME = "interrupted.npz"
REMEDY = "index into a new folder"


class Interrupted(NamedTuple):
    """The videos of an interrupted write.

    Args:
        video_ids: ids of all videos that were being written or removed.
        records: the videos to write again; all others are to be removed.
    """

    video_ids: list[str]
    records: list[Record]


class Journal:
    """The journal of a folder.

    Args:
        folder: folder of the engine.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME

    def is_open(self) -> bool:
        """Return whether a write is going on, or was interrupted."""
        return self.path.exists()

    def open(self, video_ids: Sequence[str], records: Sequence[Record] = ()) -> None:
        """Write the journal of a write that is about to start, and wait until it is on the disk.

        Args:
            video_ids: ids of all videos that will be written or removed.
            records: videos that replace older versions.
        """
        payloads = [{"video_id": record.video_id, "payload": record.payload} for record in records]
        note = json.dumps({"video_ids": list(video_ids), "records": payloads})
        arrays: dict[str, Any] = {"note": np.frombuffer(note.encode(), np.uint8)}
        for number, record in enumerate(records):
            vectors = {**record.tokens, SEGMENTS: record.segments, **record.extras}
            arrays |= {f"{name}_{number}": rows for name, rows in vectors.items()}
        with atomic_path(self.path) as partial:
            with partial.open("wb") as file:
                np.savez(file, **arrays)
            sync(partial)

    def read(self, layout: Layout) -> Interrupted:
        """Read the journal of an interrupted write.

        Args:
            layout: vectors of the library's videos.

        Raises:
            UserError: the file is damaged, or belongs to another library.
        """
        arrays = read_npz(self.path, REMEDY)
        try:
            note = json.loads(arrays["note"].tobytes())
            records = []
            for number, held in enumerate(note["records"]):
                sizes = {**dict.fromkeys((*layout.scales, SEGMENTS), layout.dim), **layout.extras}
                rows = {
                    name: _rows(arrays[f"{name}_{number}"], size) for name, size in sizes.items()
                }
                tokens = {name: rows[name] for name in layout.scales}
                extras = {name: rows[name] for name in layout.extras}
                records.append(
                    Record(
                        _text(held["video_id"]), tokens, rows[SEGMENTS], extras,
                        dict(held["payload"]),
                    )
                )  # fmt: skip
            return Interrupted([_text(name) for name in note["video_ids"]], records)
        except (ValueError, TypeError, LookupError, RecursionError):
            raise UserError(f"{self.path} is damaged: {REMEDY}") from None

    def close(self) -> None:
        """Remove the journal, since the write is complete and on the disk."""
        self.path.unlink()


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _rows(values: np.ndarray, size: int) -> np.ndarray:
    if values.ndim != 2 or values.shape[1] != size or values.dtype != np.float32:
        raise ValueError
    if not np.isfinite(values).all():
        raise ValueError
    return values
