"""Annotations of three videos, and an encoder of words, for tests of `data simulate`."""

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from data_modules.generation.simulate import simulate
from data_modules.generation.simulated_video import Simulation
from data_modules.readers.tables import QUERY_COLUMNS, VIDEO_COLUMNS, Annotations

SMALL = Simulation(video_dim=24, text_dim=20, max_tokens=3)


class WordEncoder:
    """Encodes each word as a fixed random vector."""

    name, dim = "words", 8

    def encode(self, sentences: Sequence[str], progress: bool = True) -> list[np.ndarray]:
        return [np.stack([self.vector(word) for word in text.split()]) for text in sentences]

    def vector(self, word: str) -> np.ndarray:
        rng = np.random.default_rng(zlib.crc32(word.encode()))
        return rng.standard_normal(self.dim).astype(np.float32)


def annotations() -> Annotations:
    videos = [("a", 12.0, "train", ""), ("b", 30.5, "train", ""), ("c", 500.0, "val", "")]
    queries = [
        ("a#enc#0", ("a",), "a man opens the door", ((1.0, 4.0),), "train"),
        ("b#enc#0", ("b",), "dog", (), "train"),
        ("c#enc#0", ("c",), "a dog runs", ((5.0, 50.0), (80.0, 90.0)), "val"),
        ("c#enc#1", ("c",), "zwölf  Männer", ((5.0, 600.0),), "val"),
    ]
    return Annotations(
        pd.DataFrame(videos, columns=VIDEO_COLUMNS), pd.DataFrame(queries, columns=QUERY_COLUMNS)
    )


def run(
    root: Path, table: Annotations | None = None, settings: Simulation = SMALL
) -> tuple[bool, Path]:
    table = annotations() if table is None else table
    made = simulate(table, root, "charades", "i3d", "text.hdf5", WordEncoder(), settings)
    return made, root / "charades"
