"""Tokens of long videos in files of their own, beside the embedded engine.

The engine ranks fast, but gives vectors back number by number, as Python's lists: a tenth of a
microsecond each, seconds for a few films. What a result's curve is made of is therefore read from
`rows/DIGEST.f16`, float16 as in the engine: clips, frames, registers. A file is named by the digest
of the rows that it was made of, which the engine's payload says, and is complete before the engine
hears of the video; so there is nothing to keep in step: a file that is missing or odd is not used,
and one that no video names is removed by the next writer.
"""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dreamprvr.core.errors import UserError
from dreamprvr.core.files import atomic_path, check_free_disk, open_regular, remove_files, sync
from dreamprvr.evaluation.moments import sections
from dreamprvr.search.catalogue import SOURCE
from dreamprvr.search.engine import Record
from dreamprvr.search.manifest import ROWS
from dreamprvr.search.vectors import Model

ENDING = ".f16"
LONG = 2**16  # numbers of a video from which it has a file: 128 rows of 512
_TYPE = np.dtype("<f2")
_DIGEST = re.compile("[0-9a-f]{32}")
_FILE = re.compile(r"[0-9a-f]{32}\.f16|\.[0-9a-f]{32}\.f16\.\d+\.partial")


class Sizes(NamedTuple):
    """How many rows a video has of each kind."""

    clips: int
    frames: int
    registers: int


def sizes(payload: Mapping[str, Any], model: Model) -> Sizes:
    """The rows of a video, as its payload and the model say."""
    frames = int(payload[SOURCE]["rows"])
    parts = len(sections(frames, model.section))
    return Sizes(parts * model.clips, frames, parts * model.registers)


class RowStore:
    """The files of a library.

    Args:
        folder: of the library.
        model: of the library.
    """

    def __init__(self, folder: Path, model: Model) -> None:
        self.folder, self.model = folder / ROWS, model

    def write(self, records: Iterable[Record]) -> None:
        """Write the files of those videos that are long, so that they outlive a crash.

        Raises:
            UserError: no room, or no permission.
        """
        for record in records:
            tokens = np.concatenate([record.clips, record.frames, record.registers])
            path = self._path(record.payload)
            if tokens.size <= LONG or path is None:
                continue
            with atomic_path(path, self.folder.parent) as partial:
                check_free_disk(path.parent, _TYPE.itemsize * tokens.size, "writing a video's rows")
                with partial.open("wb") as file:
                    tokens.astype(_TYPE).tofile(file)
                sync(partial)

    def read(self, video_id: str, payload: Mapping[str, Any]) -> Record | None:
        """A video without its segments; None if it has no file of its own."""
        path, count, dim = self._path(payload), sizes(payload, self.model), self.model.dim
        if path is None or sum(count) * dim <= LONG:
            return None
        try:
            with os.fdopen(open_regular(path), "rb") as file:
                if os.fstat(file.fileno()).st_size != _TYPE.itemsize * sum(count) * dim:
                    return None
                tokens = np.fromfile(file, _TYPE).reshape(-1, dim).astype(np.float32)
        except (OSError, UserError, ValueError):
            return None
        clips, frames, registers = np.split(tokens, np.cumsum(count)[:2])
        return Record(video_id, clips, frames, tokens[:0], registers, payload)

    def keep(self, payloads: Iterable[Mapping[str, Any]]) -> None:
        """Remove the files of all other videos."""
        kept = {path.name for path in map(self._path, payloads) if path is not None}
        remove_files(self.folder, _FILE, kept)

    def _path(self, payload: Mapping[str, Any]) -> Path | None:
        digest = str(payload[SOURCE].get("digest", ""))
        return self.folder / f"{digest}{ENDING}" if _DIGEST.fullmatch(digest) else None
