"""The two tables of a benchmark, in memory and on disk (docs/data.md, section 5).

On disk they are `<collection>_videos.csv` and `<collection>_queries.jsonl`. That is the form for a
user's own benchmark, so nothing is repaired: what does not fit is refused.
"""

import csv
import hashlib
import io
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from dreamprvr.core.errors import UserError
from dreamprvr.core.files import write_text
from dreamprvr.core.text import load_json_lines, normal_id, number, quote, read_csv

VIDEO_COLUMNS = ["video_id", "duration", "split", "path"]
LONGEST = 100_000_000  # seconds of a video: three years; more is a mistake
QUERY_COLUMNS = ["query_id", "video_ids", "text", "moments", "split"]


@dataclass(frozen=True)
class Annotations:
    """The two tables of a benchmark.

    Attributes:
        videos: one row for each video: `video_id` (str), `duration` in seconds (float, NaN if
            unknown), `split` (str), `path` of the video file (str, "" if unknown).
        queries: one row for each caption: `query_id` (str), `video_ids` (tuple of the true videos,
            at least one; none if a file of labels leaves the caption out), `text` (str),
            `moments` (tuple of (start, end) in seconds, () if unknown), `split` (str).
    """

    videos: pd.DataFrame
    queries: pd.DataFrame

    def __post_init__(self) -> None:
        for table, columns in ((self.videos, VIDEO_COLUMNS), (self.queries, QUERY_COLUMNS)):
            if list(table.columns) != columns:
                raise UserError(
                    f"annotation table has columns {list(table.columns)}, not {columns}"
                )

    def labels(self) -> str:
        """Return a name for what counts as true: equal for equal videos, captions and true videos.

        It starts with `multi` where a caption has several true videos, else with `single`.
        """
        digest = hashlib.blake2b(digest_size=8)
        for name in self.videos["video_id"]:
            digest.update(f"{name}\n".encode("utf-8", "surrogatepass"))
        true = self.queries["video_ids"]
        for query, videos in zip(self.queries["query_id"], true, strict=True):
            line = "\t".join((query, *videos))
            digest.update(f"{line}\n".encode("utf-8", "surrogatepass"))
        kind = "multi" if (true.map(len) > 1).any() else "single"
        return f"{kind}-{digest.hexdigest()}"

    def evaluated(self) -> "Annotations":
        """Return the tables without the captions that have no true video."""
        known = self.queries["video_ids"].map(len) > 0
        return Annotations(self.videos, self.queries[known].reset_index(drop=True))

    def split(self, name: str) -> "Annotations":
        """Return the rows of one split, numbered from 0."""
        return Annotations(
            *(t[t["split"] == name].reset_index(drop=True) for t in (self.videos, self.queries))
        )


_Row = tuple[str, Mapping[str, Any]]  # place in the file, and values by column


def write_tables(folder: str | Path, collection: str, annotations: Annotations) -> None:
    """Write both tables, each in one step (never half a file).

    Args:
        folder: folder of the tables, which is made if it is missing.
        collection: name of the benchmark: letters, digits, "_", "-" and ".".
        annotations: tables to write.

    Raises:
        UserError: if the tables would not pass `read_tables`, or cannot be written.
    """
    videos, queries = table_paths(folder, collection)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(VIDEO_COLUMNS)
    known = set()
    for row in _videos(_rows(annotations.videos, videos)):
        known.add((row[0], row[2]))
        writer.writerow((row[0], "" if math.isnan(row[1]) else repr(row[1]), *row[2:]))
    lines = [
        json.dumps(dict(zip(QUERY_COLUMNS, row, strict=True)), ensure_ascii=False) + "\n"
        for row in _queries(_rows(annotations.queries, queries), known)
    ]
    write_text(videos, text.getvalue())
    write_text(queries, "".join(lines))


def read_tables(folder: str | Path, collection: str) -> Annotations:
    """Read the tables that `write_tables` writes.

    Raises:
        UserError: if a file is missing, a line is malformed, an id comes twice in a split, a query
            names a video that its split does not have, or a moment ends before it starts. The
            message names the file and the line.
    """
    videos_path, queries_path = table_paths(folder, collection)
    videos = list(_videos(_csv_rows(videos_path)))
    known = {(row[0], row[2]) for row in videos}
    lines = ((f"{queries_path}, line {n}", row) for n, row in load_json_lines(queries_path))
    queries = list(_queries(lines, known))
    return Annotations(
        pd.DataFrame(videos, columns=VIDEO_COLUMNS), pd.DataFrame(queries, columns=QUERY_COLUMNS)
    )


def table_paths(folder: str | Path, collection: str) -> tuple[Path, Path]:
    """Return the paths of the videos and the queries table of a benchmark in a folder."""
    if not re.fullmatch(r"\w[\w.-]*", collection):
        raise UserError(
            f"collection {quote(collection)} is no plain name: use letters, digits, _ - ."
        )
    return Path(folder) / f"{collection}_videos.csv", Path(folder) / f"{collection}_queries.jsonl"


def _rows(table: pd.DataFrame, path: Path) -> Iterator[_Row]:
    for place, values in enumerate(table.itertuples(index=False, name=None)):
        yield f"{path}, row {place}", dict(zip(table.columns, values, strict=True))


def _csv_rows(path: Path) -> Iterator[_Row]:
    columns, rows = read_csv(path)
    if columns != VIDEO_COLUMNS:
        raise UserError(f"{path}, line 1: expected the columns {','.join(VIDEO_COLUMNS)}")
    for line, row in rows:
        yield f"{path}, line {line}", row


def _videos(rows: Iterator[_Row]) -> Iterator[tuple[str, float, str, str]]:
    seen: dict[tuple[str, str], str] = {}
    for where, row in rows:
        video, split = normal_id(_text(where, row, "video_id")), _text(where, row, "split")
        if not video:
            raise UserError(f"{where}: the video id is empty")
        _first(seen, where, "video", video, split)
        value = row["duration"]
        unknown = value == "" or (isinstance(value, float) and math.isnan(value))
        duration = math.nan if unknown else number(value)
        if duration is None or not (unknown or 0 < duration <= LONGEST):
            raise UserError(
                f"{where}: duration {quote(value)} of video {quote(video)} is not a positive "
                f"number of seconds up to {LONGEST:,} (leave it empty if unknown)"
            )
        yield video, duration, split, _text(where, row, "path")


def _queries(
    rows: Iterator[_Row], known: set[tuple[str, str]]
) -> Iterator[tuple[str, tuple[str, ...], str, tuple[tuple[float, float], ...], str]]:
    seen: dict[tuple[str, str], str] = {}
    for where, row in rows:
        if set(row) != set(QUERY_COLUMNS):
            raise UserError(f"{where}: has {quote(sorted(row))}, not {sorted(QUERY_COLUMNS)}")
        query, split = normal_id(_text(where, row, "query_id")), _text(where, row, "split")
        if not query:
            raise UserError(f"{where}: the query id is empty")
        _first(seen, where, "query", query, split)
        videos = row["video_ids"]
        if not isinstance(videos, list | tuple) or not videos:
            raise UserError(f"{where}: video_ids of query {quote(query)} is no list of video ids")
        videos = [normal_id(v) if isinstance(v, str) else v for v in videos]
        for video in videos:
            if not isinstance(video, str) or (video, split) not in known:
                raise UserError(
                    f"{where}: query {quote(query)} names video {quote(video)}, which split "
                    f"{quote(split)} of the videos file does not have"
                )
        if len(set(videos)) != len(videos):
            raise UserError(f"{where}: query {quote(query)} names a video twice")
        moments = _moments(where, query, row["moments"])
        yield query, tuple(videos), _text(where, row, "text"), moments, split


def _moments(where: str, query: str, value: Any) -> tuple[tuple[float, float], ...]:
    if not isinstance(value, list | tuple):
        raise UserError(f"{where}: moments of query {quote(query)} are no list of [start, end]")
    moments = []
    for moment in value:
        pair = isinstance(moment, list | tuple) and len(moment) == 2
        if not pair or not all(_is_time(number) for number in moment):
            raise UserError(
                f"{where}: moment {quote(moment)} of query {quote(query)} is not [start, end] "
                "in seconds"
            )
        start, end = moment
        if end < start:
            raise UserError(
                f"{where}: moment [{start}, {end}] of query {quote(query)} ends before it starts"
            )
        moments.append((float(start), float(end)))
    return tuple(moments)


def _is_time(value: Any) -> bool:
    seconds = None if isinstance(value, str) else number(value)
    return seconds is not None and 0 <= seconds <= LONGEST


def _text(where: str, row: Mapping[str, Any], column: str) -> str:
    if not isinstance(row[column], str):
        raise UserError(f"{where}: {column} {quote(row[column])} is no string")
    return row[column]


def _first(seen: dict[tuple[str, str], str], where: str, kind: str, name: str, split: str) -> None:
    first = seen.setdefault((name, split), where)
    if first is not where:
        raise UserError(
            f"{where}: {kind} {quote(name)} is already in split {quote(split)} ({first})"
        )
