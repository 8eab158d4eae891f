"""A tiny encoder of colours, feature files of random rows, and libraries made of them."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dreamprvr.extraction.encoder import QueryFeatures
from dreamprvr.extraction.encoders import register
from dreamprvr.extraction.feature_file import ExtractionSettings, VideoFeatures, write_feature_file
from dreamprvr.search.library import Library
from dreamprvr.search.manifest import read_manifest

NAME, DIM, TEXT_DIM = "words", 6, 5
WORDS = ("red", "green", "blue", "dog", "cat", "pan")


class WordEncoder:
    """A word is an axis of the space of the rows; `words` are rows that depend on the letters."""

    name = NAME
    fingerprint = "f" * 64
    video_dim, text_dim = DIM, TEXT_DIM
    searches_untrained = True
    frames_per_window = 1
    fps, window, stride = 1.0, 1.0, 1.0

    def __init__(self, device: str = "cpu") -> None:
        self.device = device

    def encode_windows(self, windows: Sequence[np.ndarray]) -> Tensor:
        return torch.stack([torch.full((DIM,), float(window.mean())) for window in windows])

    def encode_query(self, text: str) -> QueryFeatures:
        said = text.lower().split()
        sentence = torch.tensor([float(word in said) for word in WORDS])
        rows = [
            [float(sum(map(ord, word)) % (7 + i)) + 1 for i in range(TEXT_DIM)] for word in said
        ]
        return QueryFeatures(torch.tensor(rows).reshape(-1, TEXT_DIM), sentence)


register(NAME, WordEncoder)

SETTINGS = ExtractionSettings(NAME, WordEncoder.fingerprint, DIM, 1.0, 1.0, 1.0)


def axis(word: str) -> np.ndarray:
    """The row that shows a word."""
    return np.eye(DIM, dtype=np.float32)[WORDS.index(word)]


def video(name: str, seed: int = 0, rows: int | None = None, **events: int) -> VideoFeatures:
    """A video of random rows, one a second; `dog=7` shows a dog from second 7 to 10."""
    random = np.random.default_rng([seed, *name.encode()])
    count = rows or int(random.integers(20, 40))
    content = 0.1 * random.standard_normal((count, DIM)).astype(np.float32)
    for word, second in events.items():
        content[second : second + 3] += axis(word)
    return VideoFeatures(name, 0.0, float(count), Path(f"/films/{name}.mp4"), 100, 5, rows=content)


def features(
    path: Path, videos: Iterable[VideoFeatures], settings: ExtractionSettings = SETTINGS
) -> Path:
    """A feature file."""
    write_feature_file(path, settings, videos)
    return path


def library(folder: Path, *videos: VideoFeatures, metadata: str = "") -> Library:
    """An open library of videos, searched untrained."""
    path = features(folder / "features.hdf5", videos)
    table = folder / "videos.csv" if metadata else None
    if table is not None:
        table.write_text(metadata)
    opened = Library.create(folder / "library", path)
    opened.update(path, table)
    return opened


def engine_of(folder: Path) -> Path:
    """The folder of the engine that a library is searched by."""
    return read_manifest(folder).engine_in(folder)
