"""The vectors of videos that were found: from files of their own, or from the engine.

The engine ranks fast, but gives vectors back number by number, as Python's lists: a tenth of a
microsecond each, seconds for a few films. The tokens and extras of a long video are therefore also
kept in `rows/DIGEST.f16` beside the embedded engine, float16 as there, in the order of the model's
scales and extras. A file is named by the digest of the rows that it was made of, which the engine's
payload says, and is complete before the engine hears of the video; so there is nothing to keep in
step: a file that is missing or odd is not used, and one that no video names is removed by the next
writer.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from dreamprvr.core.errors import UserError
from dreamprvr.core.files import atomic_path, check_free_disk, open_regular, remove_files, sync
from dreamprvr.core.text import quote
from dreamprvr.search.catalogue import SOURCE, row_count
from dreamprvr.search.encoding import SearchModel
from dreamprvr.search.engine.interface import Engine, Record
from dreamprvr.search.manifest import ROWS

ENDING = ".f16"
LONG = 2**16  # numbers of a video from which it has a file: 128 rows of 512
FETCHED = 2**21  # numbers that the engine is asked for at once; each takes it 32 bytes
_TYPE = np.dtype("<f2")
_DIGEST = re.compile("[0-9a-f]{32}")
_FILE = re.compile(r"[0-9a-f]{32}\.f16|\.[0-9a-f]{32}\.f16\.\d+\.partial")


class RowStore:
    """The files of a library.

    Args:
        folder: folder of the library.
        model: model of the library.
    """

    def __init__(self, folder: Path, model: SearchModel) -> None:
        self.folder, self.model = folder / ROWS, model

    def write(self, records: Iterable[Record]) -> None:
        """Write the files of those videos that are long, so that they outlive a crash.

        Raises:
            UserError: no room, or no permission.
        """
        for record in records:
            rows = [*record.tokens.values(), *record.extras.values()]
            numbers = sum(part.size for part in rows)
            path = self._path(record.payload)
            if numbers <= LONG or path is None:
                continue
            with atomic_path(path, self.folder.parent) as partial:
                check_free_disk(path.parent, _TYPE.itemsize * numbers, "writing a video's rows")
                with partial.open("wb") as file:
                    np.concatenate([part.ravel() for part in rows]).astype(_TYPE).tofile(file)
                sync(partial)

    def read(self, video_id: str, payload: Mapping[str, Any]) -> Record | None:
        """Read a video, without its segments; None if it has no file of its own."""
        path, shapes = self._path(payload), self.model.shapes_of(row_count(payload))
        sizes = [prod(shape) for shape in shapes.values()]
        if path is None or sum(sizes) <= LONG:
            return None
        try:
            with os.fdopen(open_regular(path), "rb") as file:
                if os.fstat(file.fileno()).st_size != _TYPE.itemsize * sum(sizes):
                    return None
                numbers = np.fromfile(file, _TYPE).astype(np.float32)
        except (OSError, UserError, ValueError):
            return None
        parts = np.split(numbers, np.cumsum(sizes)[:-1])
        rows = {
            name: part.reshape(shape)
            for (name, shape), part in zip(shapes.items(), parts, strict=True)
        }
        layout = self.model.layout
        tokens = {name: rows[name] for name in layout.scales}
        extras = {name: rows[name] for name in layout.extras}
        return Record(video_id, tokens, np.empty((0, layout.dim), np.float32), extras, payload)

    def keep(self, payloads: Iterable[Mapping[str, Any]]) -> None:
        """Remove the files of all other videos."""
        kept = {path.name for path in map(self._path, payloads) if path is not None}
        remove_files(self.folder, _FILE, kept)

    def _path(self, payload: Mapping[str, Any]) -> Path | None:
        digest = str(payload[SOURCE].get("digest", ""))
        return self.folder / f"{digest}{ENDING}" if _DIGEST.fullmatch(digest) else None


def look_up(
    engine: Engine, model: SearchModel, store: RowStore | None, video_ids: Sequence[str]
) -> Iterator[Record]:
    """Give videos one after the other, so that their vectors are not in memory at once.

    They come in the order asked, without those that are not there; segments may be missing.

    Raises:
        UserError: the engine gives other vectors than were put into it.
    """
    payloads = dict(engine.payloads(video_ids))
    waiting: list[str] = []
    numbers = 0
    for video_id in video_ids:
        if video_id not in payloads:
            continue
        record = store.read(video_id, payloads[video_id]) if store is not None else None
        if record is None:
            waiting.append(video_id)
            numbers += sum(map(prod, model.shapes_of(row_count(payloads[video_id])).values()))
        if record is not None or numbers >= FETCHED:
            yield from _fetched(engine, model, waiting)
            waiting, numbers = [], 0
        if record is not None:
            yield record
    yield from _fetched(engine, model, waiting)


def _fetched(engine: Engine, model: SearchModel, video_ids: Sequence[str]) -> Iterator[Record]:
    for record in engine.fetch(video_ids) if video_ids else []:
        shapes = {name: rows.shape for name, rows in {**record.tokens, **record.extras}.items()}
        if shapes != model.shapes_of(row_count(record.payload)):
            raise UserError(
                f"the engine's files are damaged: video {quote(record.video_id)} has other vectors "
                "than were indexed; index into a new folder"
            )
        yield record
