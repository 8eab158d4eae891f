"""Metadata of videos from a CSV: any columns, one of which says which video."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dreamprvr.core.errors import UserError
from dreamprvr.core.text import normal_id, one_line, quote, read_csv, shorten

KEYS = ("video_id", "path")
LISTS = ("tags",)  # columns of several values
SEPARATOR = ";"
SHOWN = 3


class MetadataTable(NamedTuple):
    """What a CSV says.

    Args:
        of: metadata by video id.
        unknown: names in rows that name no video.
        astray: videos whose row has the path of another file.
    """

    of: Mapping[str, Mapping[str, Any]]
    unknown: tuple[str, ...]
    astray: tuple[str, ...] = ()

    def warning(self, path: Path) -> str:
        """One line on the rows that name no video, or two; "" if there are none."""
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
    """Read a CSV with a header line.

    Args:
        path: the CSV. Empty cells are left out; the values of a column `tags` are separated by
            ";". Relative paths in a column `path` count from the CSV's folder.
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
    """The paths that a cell may mean, relative to the CSV's folder: with links, and without."""
    if not place:
        return []
    path = folder / place
    try:
        return [normal_id(str(path.absolute())), normal_id(str(path.resolve()))]
    except (OSError, RuntimeError, ValueError):  # links in a circle, or no path at all
        return [place]


def _some(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > SHOWN else ""
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
