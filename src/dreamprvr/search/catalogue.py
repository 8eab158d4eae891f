"""The payload that a library keeps of each video: its file, its metadata, and its id."""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes

import numpy as np

from dreamprvr.core.errors import UserError
from dreamprvr.core.text import listed, normal_id, one_line, quote, read_csv, shorten
from dreamprvr.evaluation.moments import Timeline
from dreamprvr.extraction.feature_file import ExtractionSettings, VideoRecord
from dreamprvr.search.engine.points import METADATA
from dreamprvr.search.results import LibraryVideo

SOURCE = "source"
Payload = Mapping[str, Any]
KEYS = ("video_id", "path")
LISTS = ("tags",)  # columns of several values
SEPARATOR = ";"
SIGNS = "=<>"  # signs of conditions, which no name of a column may hold
SHOWN = 3
_CONTENT = ("digest", "rows", "size", "mtime_ns")


# Payloads


def make_payload(record: VideoRecord, rows: np.ndarray) -> Payload:
    """Make the payload of a video, without its metadata.

    Args:
        record: facts that the feature file has about the video.
        rows: features of the video, (N, F).
    """
    digest = hashlib.blake2b(np.ascontiguousarray(rows).tobytes(), digest_size=16)
    return {
        SOURCE: {
            # percent-encoded bytes, since a path need not be Unicode
            "path": quoted(record.path),
            "size": record.size, "mtime_ns": record.mtime_ns,
            # rounded, since the engine reads numbers of 16 digits with an error in the last bit
            "start": round(record.start, 6), "duration": round(record.duration, 6),
            "rows": len(rows), "digest": digest.hexdigest(), "warning": record.warning,
        }
    }  # fmt: skip


def quoted(path: Path) -> str:
    """Write a path as payloads keep it: its bytes, percent-encoded."""
    return quote_from_bytes(os.fsencode(path))


def same_vectors(first: Payload, second: Payload) -> bool:
    """Return whether two payloads are of the same rows, so that they need not be encoded again."""
    return all(first[SOURCE][name] == second[SOURCE][name] for name in ("digest", "rows"))


def metadata_of(payload: Payload) -> Mapping[str, Any]:
    """Return the values of a video's metadata columns."""
    return dict(payload.get(METADATA, {}))


def path_of(payload: Payload) -> Path:
    """Return the path that the video had when it was extracted."""
    return Path(os.fsdecode(unquote_to_bytes(payload[SOURCE]["path"])))


def library_video(video_id: str, payload: Payload) -> LibraryVideo:
    """Describe a video as search results show it."""
    path = path_of(payload) if payload[SOURCE]["path"] else None
    duration = float(payload[SOURCE]["duration"])
    return LibraryVideo(video_id, path, duration, metadata_of(payload))


def row_count(payload: Payload) -> int:
    """Return the number of rows of a video."""
    return int(payload[SOURCE]["rows"])


def timeline_of(payload: Payload, settings: ExtractionSettings) -> Timeline:
    """Return the seconds that the rows of a video cover."""
    source = payload[SOURCE]
    return Timeline(
        row_count(payload), float(source["start"]), settings.stride, settings.window,
        float(source["duration"]),
    )  # fmt: skip


# Metadata


class MetadataTable(NamedTuple):
    """The content of a CSV of metadata.

    Args:
        of: metadata by video id.
        unknown: ids or paths in the CSV that belong to no video of the library.
        astray: ids of videos whose row of the CSV also has the path of another file.
    """

    of: Mapping[str, Mapping[str, Any]]
    unknown: tuple[str, ...]
    astray: tuple[str, ...] = ()

    def warning(self, path: Path) -> str:
        """Describe in one line the rows that name no video, or two; "" if there are none.

        Args:
            path: path of the CSV.
        """
        parts = []
        if self.unknown:
            names = listed(self.unknown, SHOWN)
            parts.append(f"{len(self.unknown)} rows name no video of the library: {names}")
        if self.astray:
            parts.append(
                f"in {len(self.astray)} rows the path is not that of the video_id, and the "
                f"video_id is used: {listed(self.astray, SHOWN)}"
            )
        return f"{path}: {'; '.join(parts)}" if parts else ""


def read_metadata(path: Path, videos: Mapping[str, Path]) -> MetadataTable:
    """Read metadata from a CSV with a header line.

    Args:
        path: path of the CSV. Empty cells are left out; the values of a column `tags` are
            separated by ";". Relative paths in a column `path` count from the CSV's folder.
        videos: path of each video, by id.

    Raises:
        UserError: the file cannot be read, has no column `video_id` or `path` or one with a sign of
            conditions in its name, or names a video twice.
    """
    by_path = {normal_id(str(path_cell)): video_id for video_id, path_cell in videos.items()}
    by_id = {normal_id(video_id): video_id for video_id in videos}
    metadata: dict[str, Mapping[str, Any]] = {}
    unknown, astray = [], []
    for number, row in _rows(path):
        id_cell, path_cell = (row.get(key, "") for key in KEYS)
        name, path_cell = id_cell.strip(), path_cell.strip()
        if not name and not path_cell:
            raise UserError(f"{path}, line {number}: neither video_id nor path is given")
        paths = _spellings(path.parent, path_cell)
        if name:
            # an id may begin or end with a space, and most spaces around a cell mean nothing
            forms = (id_cell, name, normal_id(id_cell), normal_id(name))
            video_id = next(
                (known for known in (*forms[:2], *map(by_id.get, forms[2:])) if known in videos),
                None,
            )
            if video_id is not None and paths and normal_id(str(videos[video_id])) not in paths:
                astray.append(video_id)
        else:
            video_id = next((by_path[at] for at in paths if at in by_path), None)
        if video_id is None:
            unknown.append(name or path_cell)
        elif video_id in metadata:
            raise UserError(f"{path}, line {number}: video {quote(name or path_cell)} comes twice")
        else:
            metadata[video_id] = _values(row)
    return MetadataTable(metadata, tuple(unknown), tuple(astray))


def _spellings(folder: Path, place: str) -> list[str]:
    """List the paths that a cell may mean.

    Args:
        folder: folder of the CSV, from which relative paths count.
        place: path in the cell; may be empty.
    """
    if not place:
        return []
    path = folder / place
    try:
        return [normal_id(str(path.absolute())), normal_id(str(path.resolve()))]
    except (OSError, RuntimeError, ValueError):  # links in a circle, or not a valid path
        return [place]


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    header, rows = read_csv(path)
    if not set(KEYS) & set(header):
        names = one_line(shorten(", ".join(header)))
        raise UserError(f"{path} needs a column video_id or path; it has {names}")
    if wrong := [name for name in header if any(sign in name for sign in SIGNS)]:
        raise UserError(
            f"{path}: --where COLUMN=VALUE cannot name column {quote(wrong[0])}: take =, < and > "
            "out of its name"
        )
    return rows


def _values(row: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for column, cell in row.items():
        if column in LISTS:
            parts = [part.strip() for part in cell.split(SEPARATOR)]
            if any(parts):
                values[column] = [part for part in parts if part]
        elif column not in KEYS and cell.strip():
            values[column] = cell.strip()
    return values


# Videos whose id has changed


class Renames:
    """Videos of the library that a feature file may hold under another id.

    Args:
        known: payloads of the library's videos, by id.
        present: path of each video of the feature file, by id, percent-encoded as in payloads.
    """

    def __init__(self, known: Mapping[str, Payload], present: Mapping[str, str]) -> None:
        shared = {path for path, count in Counter(present.values()).items() if count > 1}
        self._unclear = {"", ".", *shared}
        self._gone = {name: known[name] for name in sorted(known.keys() - present.keys())}
        self._places: dict[Any, list[str]] = defaultdict(list)
        self._contents: dict[Any, list[str]] = defaultdict(list)
        for video_id, payload in self._gone.items():
            self._places[payload[SOURCE]["path"]].append(video_id)
            self._contents[_content(payload)].append(video_id)

    def replaced_by(self, payload: Payload, new: bool) -> list[str]:
        """List the old ids of a video in the library; each old id is returned only once.

        Args:
            payload: payload of a video of the feature file.
            new: whether the library lacks the video's id. If so, a renamed file is found too: it
                has the same rows, size and time as before, and there is no file of the old name.
        """
        path = payload[SOURCE]["path"]
        if path in self._unclear:
            return []
        old_ids = [name for name in self._places[path] if name in self._gone]
        if new and not old_ids:
            same_content = [
                name for name in self._contents[_content(payload)] if name in self._gone
            ]
            if len(same_content) == 1 and not os.path.lexists(path_of(self._gone[same_content[0]])):
                old_ids = same_content
        for name in old_ids:
            del self._gone[name]
        return old_ids


def _content(payload: Payload) -> tuple[Any, ...]:
    return tuple(payload[SOURCE].get(name) for name in _CONTENT)
