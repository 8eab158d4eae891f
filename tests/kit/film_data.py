"""The generated films as a data set: features that `lightning extract` wrote, captions, moments."""

import os
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from data_modules.base import FeatureSet, PRVRDataModule
from data_modules.readers.features import open_features
from data_modules.readers.store import FeatureStore
from data_modules.readers.tables import QUERY_COLUMNS, VIDEO_COLUMNS, Annotations
from dreamprvr.core.files import atomic_path
from tests.kit.films import COLLECTION
from tests.kit.statistics_encoder import StatisticsEncoder, word_rows

SEPARATOR = "@"


class Film(PRVRDataModule):
    """Whole films for testing; for training and validation, films cut into sections.

    A library encodes a film that is longer than the network reads in sections, too, each on its
    own: the network learns what it will be asked. A caption goes to the section that shows most
    of its event.

    Args:
        section: rows of a section; None keeps training films whole.
        options: those of `PRVRDataModule`.
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
        """Write the word features, which take a second."""
        queries = pd.concat([self.read_films(split).queries for split in ("train", "val", "test")])
        texts = zip(queries["query_id"], queries["text"], strict=True)
        write_words(self.folder / self.feature_set.text, texts)
        super().prepare_data()

    def read_films(self, split: str) -> Annotations:
        """The tables of whole films."""
        return super().read_annotations(split)

    def read_annotations(self, split: str) -> Annotations:
        """The tables of a split, of sections if it is cut."""
        films = self.read_films(split)
        if self.section is None or split == "test":
            return films
        return cut_tables(films, open_features(self.folder / self.feature_set.video), self.section)

    def video_features(self) -> FeatureStore:
        """Rows of films and of their sections."""
        return SectionStore(super().video_features())


class SectionStore(FeatureStore):
    """Features of films, and of rows `film@first:end` of them."""

    def __init__(self, films: FeatureStore) -> None:
        self.films, self.path, self.dim = films, films.path, films.dim

    @property
    def fingerprint(self) -> str:
        return self.films.fingerprint

    def keys(self) -> list[str]:
        return self.films.keys()

    def _has(self, name: str) -> bool:
        return name.partition(SEPARATOR)[0] in self.films

    def _shape(self, name: str) -> tuple[int, ...]:
        return self._read(name).shape

    def _read(self, name: str) -> np.ndarray:
        film, cut, span = name.partition(SEPARATOR)
        first, _, end = span.partition(":")
        return self.films[film][int(first) : int(end)] if cut else self.films[film]


def cut_tables(films: Annotations, store: FeatureStore, section: int) -> Annotations:
    """Tables of the sections of films, equally long and of at most `section` rows.

    Rows begin a stride apart, and stride is a second here, so that rows count seconds.
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
    """Word features (L, E) of captions by id, as the encoder makes them of a query."""
    with atomic_path(path) as partial, h5py.File(partial, "w") as file:
        for query_id, text in captions:
            file[query_id] = word_rows(text)
