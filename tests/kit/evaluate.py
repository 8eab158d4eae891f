"""Does search find the right film and the right second? Asked of the library itself.

    python -m tests.kit.evaluate DATA FEATURES LIBRARY

asks every test caption of the generated films in `DATA/film`, in a library that
`python -m tests.kit index FEATURES --ckpt_path FILE -o LIBRARY` made, and prints a table: once
among the test films only, once among all films. The films' splits are written into the library's
metadata.
"""

import argparse
import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_modules.readers.tables import read_tables
from dreamprvr.core.files import atomic_path
from dreamprvr.evaluation.moments import MomentRule
from dreamprvr.extraction.encoders import register
from dreamprvr.search.library import Library
from dreamprvr.search.results import SearchResult
from tests.kit.films import COLLECTION
from tests.kit.statistics_encoder import StatisticsEncoder

OVERLAPS = (0.3, 0.5)


@dataclass(frozen=True)
class Finding:
    """The result of the search for one caption.

    Args:
        rank: of the right film, from 1.
        overlap: of its first moment with the truth: intersection over union.
        inside: whether the moment's peak lies in the truth.
        error: seconds between the middles of moment and truth.
        start_error: seconds between their starts.
        guess: seconds between the middles of film and truth: what needs no search.
    """

    rank: int
    overlap: float
    inside: bool
    error: float
    start_error: float
    guess: float


def judge(result: SearchResult, film: str, truth: tuple[float, float]) -> Finding:
    """Compare a search that lists every film with what is true.

    Args:
        result: its hits hold the film.
        film: id of the right one.
        truth: start and end of the event in seconds.
    """
    hit = next(hit for hit in result.hits if hit.video.video_id == film)
    moment, (start, end) = hit.moments[0], truth
    shared = max(0.0, min(moment.end, end) - max(moment.start, start))
    middle = (start + end) / 2
    return Finding(
        rank=hit.rank,
        overlap=shared / (moment.end - moment.start + end - start - shared),
        inside=start <= moment.peak <= end,
        error=abs((moment.start + moment.end) / 2 - middle),
        start_error=abs(moment.start - start),
        guess=abs(hit.video.duration / 2 - middle),
    )


def summary(findings: Iterable[Finding], films: int) -> dict[str, float]:
    """Means over captions: shares in %, errors in seconds.

    Args:
        findings: at least one.
        films: that were searched.
    """
    found = list(findings)
    first = np.array([item.rank == 1 for item in found])
    overlap = np.array([item.overlap for item in found])
    error = np.array([item.error for item in found])
    row = {"captions": float(len(found)), "films": float(films), "chance R@1": 100 / films}
    row["R@1"] = 100 * float(first.mean())
    for least in OVERLAPS:
        row[f"R@1, IoU {least}"] = 100 * float((first & (overlap >= least)).mean())
    row["peak inside"] = 100 * float(np.mean([item.inside for item in found]))
    row["median error"] = float(np.median(error))
    row["90 % below"] = float(np.quantile(error, 0.9))
    row["mean error"] = float(error.mean())
    row["median start error"] = float(np.median([item.start_error for item in found]))
    row["middle of the film"] = float(np.median([item.guess for item in found]))
    return row


def evaluate(
    library: Library, data: Path, split: str, where: Mapping[str, str] | None = None
) -> dict[str, float]:
    """Ask all captions of a split.

    Args:
        library: of the films.
        data: holds `film/`.
        split: whose captions are asked.
        where: a filter that keeps the films of the split.
    """
    queries = read_tables(data / COLLECTION / "TextData", COLLECTION).split(split).queries
    films = len(library.videos(where))
    findings = []
    for query in queries.itertuples(index=False):
        result = library.search(query.text, k=films, where=where)
        findings.append(judge(result, query.video_ids[0], query.moments[0]))
    return summary(findings, films)


def write_splits(data: Path, path: Path) -> None:
    """Write a metadata file (CSV) with the split of each film."""
    videos = read_tables(data / COLLECTION / "TextData", COLLECTION).videos
    with atomic_path(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["video_id", "split"])
        rows.writerows(zip(videos["video_id"], videos["split"], strict=True))


def table(columns: Mapping[str, Mapping[str, float]]) -> str:
    """The results as Markdown, a column for each."""
    names = list(columns)
    lines = ["| | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    for key in columns[names[0]]:
        digits = 0 if key in ("captions", "films") else 1
        values = " | ".join(f"{columns[name][key]:.{digits}f}" for name in names)
        lines.append(f"| {key} | {values} |")
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.kit.evaluate", description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("features", type=Path)
    parser.add_argument("library", type=Path)
    parser.add_argument("--split", default="test")
    rule = MomentRule()
    parser.add_argument("--smoothing", type=float, default=rule.smoothing, help="of moments")
    parser.add_argument("--share", type=float, default=rule.share, help="of moments")
    options = parser.parse_args()
    register(StatisticsEncoder.name, StatisticsEncoder)
    splits = options.library / "splits.csv"
    write_splits(options.data, splits)
    rule = MomentRule(options.smoothing, options.share)
    with Library.open(options.library, "cpu", rule) as library:
        library.update(options.features, splits)
        own = evaluate(library, options.data, options.split, {"split": options.split})
        among_all = evaluate(library, options.data, options.split)
    print(table({f"{options.split} films": own, "all films": among_all}))


if __name__ == "__main__":
    main()
