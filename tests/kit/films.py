"""A folder of generated films with captions and true moments.

    python -m tests.kit.films FOLDER [--films 40]

writes `<folder>/film/videos/` and, in the project's own tables, `<folder>/film/TextData/`. What is
there already and still right stays, so that an interrupted run goes on where it was.
"""

import argparse
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from data_modules.readers.captions import write_captions
from data_modules.readers.tables import QUERY_COLUMNS, VIDEO_COLUMNS, Annotations, write_tables
from tests.kit.film_plan import FilmPlan, plan_films
from tests.kit.render import render

VERSION = 1  # raise it when the same plan gives another picture
COLLECTION = "film"
RECORD = "rendered.json"


def split_names(number: int, val: int, test: int) -> list[str]:
    """The split of each of a number of films: train first, then val, then test."""
    return ["train"] * (number - val - test) + ["val"] * val + ["test"] * test


def make_films(
    root: Path,
    plans: Sequence[FilmPlan],
    splits: Sequence[str],
    progress: Callable[[str], None] = print,
) -> Annotations:
    """Render films that are not there yet, and write their tables.

    Args:
        root: holds `film/`.
        plans: of all films.
        splits: "train", "val" or "test" for each.
        progress: told in one line what was rendered.

    Returns:
        The tables that were written.
    """
    folder = root / COLLECTION
    videos = folder / "videos"
    videos.mkdir(parents=True, exist_ok=True)
    record = videos.parent / RECORD
    known = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
    for plan in plans:
        digest = hashlib.sha256(f"{VERSION} {plan!r}".encode()).hexdigest()
        if known.get(plan.name) == digest and (videos / plan.file_name).exists():
            continue
        path = render(plan, videos)
        progress(f"{path.name}: {plan.duration:.0f} s, {len(plan.events)} events")
        known[plan.name] = digest
        record.write_text(json.dumps(known, indent=1), encoding="utf-8")
    tables = annotations(plans, splits, videos)
    text = folder / "TextData"
    for split in sorted(set(splits)):
        text.mkdir(exist_ok=True)
        path = text / f"{COLLECTION}{split}.caption.txt"
        write_captions(path, tables.split(split).queries)
    write_tables(text, COLLECTION, tables)
    return tables


def annotations(plans: Sequence[FilmPlan], splits: Sequence[str], videos: Path) -> Annotations:
    """The tables of films: a caption for each event, with its moment."""
    rows = [
        (plan.name, plan.duration, split, str(videos / plan.file_name))
        for plan, split in zip(plans, splits, strict=True)
    ]
    queries = [
        (f"{plan.name}#enc#{i}", (plan.name,), sentence, ((shot.start, shot.end),), split)
        for plan, split in zip(plans, splits, strict=True)
        for i, (shot, sentence) in enumerate(zip(plan.events, plan.captions, strict=True))
    ]
    return Annotations(
        pd.DataFrame(rows, columns=VIDEO_COLUMNS), pd.DataFrame(queries, columns=QUERY_COLUMNS)
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.kit.films", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--films", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    test = options.films // 4
    splits = split_names(options.films, options.films // 8, test)
    make_films(options.folder, plan_films(options.films, seed=options.seed), splits)


if __name__ == "__main__":
    main()
