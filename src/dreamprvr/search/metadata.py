"""Metadata of videos from a CSV: any columns, one of which says which video."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from data_modules.jsonfiles import read_text
from dreamprvr.errors import UserError

KEYS = ("video_id", "path")
LISTS = ("tags",)  # columns of several values
SEPARATOR = ";"
SHOWN = 3


class MetadataTable(NamedTuple):
    """Metadata by video id, and the rows of the CSV that name no video."""

    of: Mapping[str, Mapping[str, Any]]
    unknown: tuple[str, ...]

    def warning(self, path: Path) -> str:
        """One line on the rows that name no video; "" if there are none."""
        if not self.unknown:
            return ""
        more = ", ..." if len(self.unknown) > SHOWN else ""
        names = ", ".join(self.unknown[:SHOWN]) + more
        return f"{path}: {len(self.unknown)} rows name no video of the library: {names}"


def read_metadata(path: Path, videos: Mapping[str, Path]) -> MetadataTable:
    """Read a CSV with a header line.

    Args:
        path: the CSV. Empty cells are left out; the values of a column `tags` are separated by
            ";". Relative paths in a column `path` count from the CSV's folder.
        videos: path of each video, by id.

    Raises:
        UserError: the file cannot be read, has no column `video_id` or `path`, or names a video
            twice.
    """
    by_path = {str(place): video_id for video_id, place in videos.items()}
    found: dict[str, Mapping[str, Any]] = {}
    unknown = []
    for number, row in _rows(path):
        name = (row.get("video_id") or row.get("path") or "").strip()
        if not name:
            raise UserError(f"{path}, line {number}: neither video_id nor path is given")
        if (row.get("video_id") or "").strip():
            video_id = name if name in videos else None
        else:
            place = Path(name) if Path(name).is_absolute() else path.parent / name
            video_id = by_path.get(str(place.absolute())) or by_path.get(str(place.resolve()))
        if video_id is None:
            unknown.append(name)
        elif video_id in found:
            raise UserError(f"{path}, line {number}: video {name!r} comes twice")
        else:
            found[video_id] = _values(row)
    return MetadataTable(found, tuple(unknown))


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    reader = csv.reader(read_text(path).splitlines(keepends=True), strict=True)
    try:
        header = [name.strip() for name in next(reader)]
        if not set(KEYS) & set(header):
            raise UserError(f"{path} needs a column video_id or path; it has {', '.join(header)}")
        if len(set(header)) < len(header) or "" in header:
            raise UserError(f"{path}: every column needs a name of its own")
        rows = []
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(header):
                raise UserError(
                    f"{path}, line {reader.line_num}: {len(row)} cells, but {len(header)} columns"
                )
            rows.append((reader.line_num, dict(zip(header, row, strict=True))))
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: not CSV ({error})") from None
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
