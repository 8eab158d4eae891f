"""A folder of generated films with captions and true moments, and the data set of its features.

    python -m tests.kit.films FOLDER [--films 40]

writes `<folder>/film/videos/` and, as the project's tables, `<folder>/film/TextData/`. Films that
exist and are still right stay, so that an interrupted run goes on where it was.
"""

import argparse
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from data_modules.base import FeatureSet, PRVRDataModule
from data_modules.readers.captions import write_captions
from data_modules.readers.store import FeatureStore
from data_modules.readers.tables import (
    QUERY_COLUMNS,
    VIDEO_COLUMNS,
    Annotations,
    write_tables,
)
from dreamprvr.core.files import atomic_path
from tests.kit.film_plan import FilmPlan, plan_films
from tests.kit.render import render
from tests.kit.statistics_encoder import StatisticsEncoder, word_rows

VERSION = 1  # to be raised when the same plan gives another picture
COLLECTION = "film"
RECORD = "rendered.json"
SEPARATOR = "@"  # between the id of a film and the rows of a section of it


def split_names(number: int, val: int, test: int) -> list[str]:
    """Return the split of each film: train first, then val, then test."""
    return ["train"] * (number - val - test) + ["val"] * val + ["test"] * test


def make_films(
    root: Path,
    plans: Sequence[FilmPlan],
    splits: Sequence[str],
    progress: Callable[[str], None] = print,
) -> Annotations:
    """Render the films that do not exist yet, and write the tables of all.

    Args:
        root: folder in which `film/` is made.
        plans: plans of all films.
        splits: "train", "val" or "test" for each film.
        progress: function that is called with a line for each rendered film.

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
    """Make the tables of films, with a caption and its moment for each event."""
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


class Film(PRVRDataModule):
    """Whole films for testing; for training and validation, films cut into sections.

    A library also encodes a long film in sections, so that training is like searching. A caption
    belongs to the section that shows the middle of its event.

    Args:
        root: folder that holds `film/`.
        section: largest number of rows in a section; None keeps training films whole.
        options: options of `PRVRDataModule`.
    """

    collection = COLLECTION
    feature_sets = {
        "standard": FeatureSet(
            video="features.hdf5",
            text="TextData/words.hdf5",
            video_dim=StatisticsEncoder().video_dim,
            text_dim=StatisticsEncoder.text_dim,
        )
    }
    source = "It is generated: python -m tests.kit.films"

    def __init__(self, root: str | os.PathLike[str], section: int | None = None, **options: Any):
        super().__init__(root, **options)
        self.section = section

    def prepare_data(self) -> None:
        """Write the word features, which takes a second."""
        queries = pd.concat([self.read_films(split).queries for split in ("train", "val", "test")])
        texts = zip(queries["query_id"], queries["text"], strict=True)
        write_words(self.folder / self.feature_set.single()[1], texts)
        super().prepare_data()

    def read_films(self, split: str) -> Annotations:
        """Read the tables of whole films."""
        return super().read_annotations(split)

    def read_annotations(self, split: str) -> Annotations:
        """Read the tables of a split, those of sections if it is cut."""
        films = self.read_films(split)
        if self.section is None or split == "test":
            return films
        return cut_tables(films, super().video_features(), self.section)

    def video_features(self) -> FeatureStore:
        """Open the features of films and of their sections."""
        return SectionStore(super().video_features())


class SectionStore(FeatureStore):
    """Features of films, and of their sections, which have ids of the form `film@first:end`."""

    def __init__(self, films: FeatureStore) -> None:
        self.films, self.path, self.dim = films, films.path, films.dim

    @property
    def fingerprint(self) -> str:
        return self.films.fingerprint

    def keys(self) -> list[str]:
        return self.films.keys()

    def has(self, name: str) -> bool:
        return name.partition(SEPARATOR)[0] in self.films

    def load(self, name: str) -> np.ndarray:
        film, cut, span = name.partition(SEPARATOR)
        first, _, end = span.partition(":")
        return self.films[film][int(first) : int(end)] if cut else self.films[film]


def cut_tables(films: Annotations, store: FeatureStore, section: int) -> Annotations:
    """Make the tables of sections of films, equally long and of at most `section` rows.

    Args:
        films: tables of whole films.
        store: features of the films, a row for each second.
        section: largest number of rows in a section.
    """
    stride = StatisticsEncoder.stride
    videos, queries = [], []
    for film in films.videos.itertuples(index=False):
        rows = store.rows(film.video_id)
        bounds = np.linspace(0, rows, -(-rows // section) + 1).round().astype(int).tolist()
        names = [f"{film.video_id}{SEPARATOR}{a}:{b}" for a, b in pairwise(bounds)]
        videos += [(name, float("nan"), film.split, film.path) for name in names]
        own = films.queries[films.queries["video_ids"].str[0] == film.video_id]
        for query in own.itertuples(index=False):
            start, end = query.moments[0]
            place = np.searchsorted(bounds[1:-1], (start + end) / 2 / stride, side="right")
            moment = (max(start - bounds[place] * stride, 0.0), end - bounds[place] * stride)
            row = (query.query_id, (names[place],), query.text, (moment,), film.split)
            queries.append(row)
    return Annotations(
        pd.DataFrame(videos, columns=VIDEO_COLUMNS), pd.DataFrame(queries, columns=QUERY_COLUMNS)
    )


def write_words(path: Path, captions: Iterable[tuple[str, str]]) -> None:
    """Write the word features (L, E) of captions by id, as the encoder makes them of a query."""
    with atomic_path(path) as partial, h5py.File(partial, "w") as file:
        for query_id, text in captions:
            file[query_id] = word_rows(text)


def main() -> None:
    """Run the command line."""
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
