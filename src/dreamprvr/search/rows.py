"""Reading of the vectors of found videos, from files of rows or from the engine.

The engine ranks fast, but returns vectors as Python's lists. That takes a tenth of a microsecond
for each number, which is seconds for a few films. The tokens and extras of a long video are
therefore also kept in a file `rows/DIGEST.f16` beside the embedded engine, as float16, in the order
of the model's scales and extras.

A file is named by the digest of the video's features, which is in the payload too, and it is
complete before the video is written to the engine. So the files never need repair. A file that is
missing or has a wrong length is not used, and the next writer removes files of no video.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dreamprvr.core.errors import UserError
from dreamprvr.core.files import atomic_path, check_free_disk, open_regular, remove_files, sync
from dreamprvr.core.text import quote
from dreamprvr.search.catalogue import SOURCE, row_count
from dreamprvr.search.engine.interface import Engine, Record
from dreamprvr.search.manifest import ROWS

if TYPE_CHECKING:  # a library is listed without torch, which takes seconds to be imported
    from dreamprvr.search.encoding import SearchModel

ENDING = ".f16"
LONG = 2**16  # videos of more numbers have a file; this is 128 rows of 512
FETCHED = 2**21  # numbers that are fetched from the engine at once; each takes 32 bytes
_TYPE = np.dtype("<f2")
_DIGEST = re.compile("[0-9a-f]{32}")
_FILE = re.compile(r"[0-9a-f]{32}\.f16|\.[0-9a-f]{32}\.f16\.\d+\.partial")


class RowStore:
    """The files of rows of a library.

    Args:
        folder: folder of the library.
        model: model of the library.
    """

    def __init__(self, folder: Path, model: "SearchModel") -> None:
        self.folder, self.model = folder / ROWS, model

    def write(self, records: Iterable[Record]) -> None:
        """Write the files of long videos, and wait until they are safe on the disk.

        Args:
            records: videos with their vectors.

        Raises:
            UserError: there is no room or no permission.
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
        """Read a video, without its segments, from its file.

        Args:
            video_id: id of the video.
            payload: payload of the video.

        Returns:
            The video; None if it has no file, or one of the wrong length.
        """
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
        """Remove the files of all videos but some.

        Args:
            payloads: payloads of the videos whose files stay.
        """
        kept = {path.name for path in map(self._path, payloads) if path is not None}
        remove_files(self.folder, _FILE, kept)

    def _path(self, payload: Mapping[str, Any]) -> Path | None:
        digest = str(payload[SOURCE].get("digest", ""))
        return self.folder / f"{digest}{ENDING}" if _DIGEST.fullmatch(digest) else None


def look_up(
    engine: Engine, model: "SearchModel", store: RowStore | None, video_ids: Sequence[str]
) -> Iterator[Record]:
    """Yield videos one after the other, so that their vectors are not all in memory at once.

    Args:
        engine: engine of the library, open.
        model: model of the library.
        store: files of rows beside the engine; None if there are none.
        video_ids: ids of the videos.

    Yields:
        The videos in the order of `video_ids`; unknown ids are skipped. Segments may be missing.

    Raises:
        UserError: the vectors in the engine do not have the shapes that were written.
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


def _fetched(engine: Engine, model: "SearchModel", video_ids: Sequence[str]) -> Iterator[Record]:
    for record in engine.fetch(video_ids) if video_ids else []:
        shapes = {name: rows.shape for name, rows in {**record.tokens, **record.extras}.items()}
        if shapes != model.shapes_of(row_count(record.payload)):
            raise UserError(
                f"the engine's files are damaged: video {quote(record.video_id)} has vectors of "
                "wrong shapes; index into a new folder"
            )
        yield record
