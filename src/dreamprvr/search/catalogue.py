"""The facts that a library has of each video: payload, metadata from a CSV, and new names."""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes

import numpy as np

from dreamprvr.core.errors import UserError
from dreamprvr.core.text import normal_id, one_line, quote, read_csv, shorten
from dreamprvr.evaluation.moments import Timeline
from dreamprvr.extraction.feature_file import ExtractionSettings, VideoRecord
from dreamprvr.search.engine.points import METADATA
from dreamprvr.search.results import LibraryVideo

SOURCE = "source"
Payload = Mapping[str, Any]
KEYS = ("video_id", "path")
LISTS = ("tags",)  # columns of several values
SEPARATOR = ";"
SHOWN = 3
_CONTENT = ("digest", "rows", "size", "mtime_ns")


# Payloads


def make_payload(record: VideoRecord, rows: np.ndarray, metadata: Mapping[str, Any]) -> Payload:
    """Make the payload of a video of a feature file."""
    digest = hashlib.blake2b(np.ascontiguousarray(rows).tobytes(), digest_size=16)
    return {
        SOURCE: {
            # percent-encoded bytes, since a path need not be Unicode
            "path": quoted(record.path),
            "size": record.size, "mtime_ns": record.mtime_ns,
            # the engine's reader of JSON is an ulp off where a number has 16 digits
            "start": round(record.start, 6), "duration": round(record.duration, 6),
            "rows": len(rows), "digest": digest.hexdigest(), "warning": record.warning,
        },
        METADATA: dict(metadata),
    }  # fmt: skip


def quoted(path: Path) -> str:
    """Write a path as payloads have it."""
    return quote_from_bytes(os.fsencode(path))


def same_vectors(first: Payload, second: Payload) -> bool:
    """Return whether two payloads stand for the same rows, so that none is encoded again."""
    return all(first[SOURCE][name] == second[SOURCE][name] for name in ("digest", "rows"))


def metadata_of(payload: Payload) -> Mapping[str, Any]:
    """Give columns and values of a video."""
    return dict(payload.get(METADATA, {}))


def path_of(payload: Payload) -> Path:
    """Give the path of the video when it was extracted."""
    return Path(os.fsdecode(unquote_to_bytes(payload[SOURCE]["path"])))


def library_video(video_id: str, payload: Payload) -> LibraryVideo:
    """Describe a video as searches give it."""
    path = path_of(payload) if payload[SOURCE]["path"] else None
    duration = float(payload[SOURCE]["duration"])
    return LibraryVideo(video_id, path, duration, metadata_of(payload))


def row_count(payload: Payload) -> int:
    """Give the number of rows of a video."""
    return int(payload[SOURCE]["rows"])


def timeline_of(payload: Payload, settings: ExtractionSettings) -> Timeline:
    """Give the seconds of a video's rows."""
    source = payload[SOURCE]
    return Timeline(
        row_count(payload), float(source["start"]), settings.stride, settings.window,
        float(source["duration"]),
    )  # fmt: skip


# Metadata


class MetadataTable(NamedTuple):
    """The content of a CSV.

    Args:
        of: metadata by video id.
        unknown: names in rows that name no video.
        astray: ids of videos whose row has the path of another file.
    """

    of: Mapping[str, Mapping[str, Any]]
    unknown: tuple[str, ...]
    astray: tuple[str, ...] = ()

    def warning(self, path: Path) -> str:
        """Say in one line which rows name no video, or two; "" if there are none."""
        parts = []
        if self.unknown:
            names = _some(self.unknown)
            parts.append(f"{len(self.unknown)} rows name no video of the library: {names}")
        if self.astray:
            parts.append(
                f"{len(self.astray)} rows have another path than their video_id, which counts: "
                f"{_some(self.astray)}"
            )
        return f"{path}: {'; '.join(parts)}" if parts else ""


def read_metadata(path: Path, videos: Mapping[str, Path]) -> MetadataTable:
    """Read metadata from a CSV with a header line.

    Args:
        path: path of the CSV. Empty cells are left out; the values of a column `tags` are
            separated by ";". Relative paths in a column `path` count from the CSV's folder.
        videos: path of each video, by id.

    Raises:
        UserError: the file cannot be read, has no column `video_id` or `path` or one with "=" in
            its name, or names a video twice.
    """
    by_path = {normal_id(str(place)): video_id for video_id, place in videos.items()}
    by_id = {normal_id(video_id): video_id for video_id in videos}
    found: dict[str, Mapping[str, Any]] = {}
    unknown, astray = [], []
    for number, row in _rows(path):
        cell, place = (row.get(key, "") for key in KEYS)
        name, place = cell.strip(), place.strip()
        if not name and not place:
            raise UserError(f"{path}, line {number}: neither video_id nor path is given")
        places = _spellings(path.parent, place)
        if name:
            # an id may begin or end with a space, and most spaces around a cell mean nothing
            forms = (cell, name, normal_id(cell), normal_id(name))
            video_id = next(
                (known for known in (*forms[:2], *map(by_id.get, forms[2:])) if known in videos),
                None,
            )
            if video_id is not None and places and normal_id(str(videos[video_id])) not in places:
                astray.append(video_id)
        else:
            video_id = next((by_path[at] for at in places if at in by_path), None)
        if video_id is None:
            unknown.append(name or place)
        elif video_id in found:
            raise UserError(f"{path}, line {number}: video {quote(name or place)} comes twice")
        else:
            found[video_id] = _values(row)
    return MetadataTable(found, tuple(unknown), tuple(astray))


def _spellings(folder: Path, place: str) -> list[str]:
    """List the paths that a cell may mean, relative to the CSV's folder."""
    if not place:
        return []
    path = folder / place
    try:
        return [normal_id(str(path.absolute())), normal_id(str(path.resolve()))]
    except (OSError, RuntimeError, ValueError):  # links in a circle, or no path at all
        return [place]


def _some(names: Sequence[str]) -> str:
    more = ", and others" if len(names) > SHOWN else ""
    return ", ".join(one_line(shorten(name)) for name in names[:SHOWN]) + more


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    header, rows = read_csv(path)
    if not set(KEYS) & set(header):
        names = one_line(shorten(", ".join(header)))
        raise UserError(f"{path} needs a column video_id or path; it has {names}")
    if wrong := [name for name in header if "=" in name]:
        raise UserError(
            f"{path}: column {quote(wrong[0])} could not be asked for by --where COLUMN=VALUE: "
            "take the = out of its name"
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


# Videos that come back under another id


class Renames:
    """Library videos that a feature file does not hold, to be found again in what it holds.

    Args:
        known: payloads of the library's videos, by id.
        present: path of each video of the feature file, by id, as payloads have it.
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
        """List the ids under which the library has the same video; each is given once.

        Args:
            payload: payload of a video of the feature file.
            new: whether the library lacks its id; then a file that was renamed is found as well:
                its rows, size and time are the same, and the old file is gone.
        """
        path = payload[SOURCE]["path"]
        if path in self._unclear:
            return []
        found = [name for name in self._places[path] if name in self._gone]
        if new and not found:
            same = [name for name in self._contents[_content(payload)] if name in self._gone]
            if len(same) == 1 and not os.path.lexists(path_of(self._gone[same[0]])):
                found = same
        for name in found:
            del self._gone[name]
        return found


def _content(payload: Payload) -> tuple[Any, ...]:
    return tuple(payload[SOURCE].get(name) for name in _CONTENT)
