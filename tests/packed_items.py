"""A few videos and captions to pack."""

import os
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from data_modules.loading.dataset import InputSizes, QueryDataset, VideoDataset
from data_modules.readers.hdf5 import Hdf5Features
from data_modules.readers.tables import QUERY_COLUMNS, VIDEO_COLUMNS, Annotations

SIZES = InputSizes(num_clips=2, max_frames=4, max_words=3)
VIDEOS = {"a": 1, "b": 4, "c": 9, "d": 3}  # rows of each
CAPTIONS = {"a#0": ("a",), "c#0": ("c", "a"), "c#1": ("c",), "d#0": ("d",)}
WORDS = {"a#0": 2, "c#0": 3, "c#1": 5, "d#0": 1}


def write(path: Path, lengths: dict[str, int], dim: int, seed: int = 0) -> Hdf5Features:
    """Write a new file; a process that has the old one open keeps the old one."""
    random = np.random.default_rng(seed)
    new = path.with_name("new.hdf5")
    with h5py.File(new, "w") as file:
        for name, length in lengths.items():
            file[name] = random.standard_normal((length, dim)).astype(np.float32)
    os.replace(new, path)
    return Hdf5Features(path)


def tables(videos: int = len(VIDEOS), captions: int = len(CAPTIONS)) -> Annotations:
    queries = [(name, true, "text", (), "train") for name, true in CAPTIONS.items()][:captions]
    rows = [(name, 1.0, "train", "") for name in VIDEOS][:videos]
    return Annotations(
        pd.DataFrame(rows, columns=VIDEO_COLUMNS), pd.DataFrame(queries, columns=QUERY_COLUMNS)
    )


def items(folder: Path, table: Annotations | None = None) -> tuple[VideoDataset, QueryDataset]:
    """Open videos and captions, after writing their files if they are missing."""
    table = table or tables()
    for name, lengths, dim in (("v.hdf5", VIDEOS, 5), ("t.hdf5", WORDS, 3)):
        if not (folder / name).exists():
            write(folder / name, lengths, dim)
    videos, texts = (Hdf5Features(folder / name) for name in ("v.hdf5", "t.hdf5"))
    return VideoDataset(table, videos, SIZES), QueryDataset(table, texts, SIZES)
