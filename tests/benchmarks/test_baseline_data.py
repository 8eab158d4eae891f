"""The baseline's data sets against the golden pooling and the product's data sets."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from shared import REFERENCE, needs_reference

from benchmarks.baseline import data as baseline
from data_modules.loading import dataset as product
from data_modules.readers.hdf5 import Hdf5Features
from data_modules.readers.tables import QUERY_COLUMNS, VIDEO_COLUMNS, Annotations

SIZES = product.InputSizes(num_clips=4, max_frames=8, max_words=3)
VIDEOS = {"a": 1, "b": 4, "c": 9, "d": 8, "e": 300, "f": 0}  # rows of each, 0: one vector
CAPTIONS = {
    "a#0": (2, "a"),
    "c#0": (3, "c", "a"),
    "c#1": (5, "c"),
    "e#0": (1, "e"),
    "f#0": (0, "f"),
}


def write(path: Path, lengths: dict[str, int], dim: int, dtype: type) -> Path:
    generator = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for name, length in lengths.items():
            rows = 3 * generator.standard_normal((length or 1, dim)) + 0.5
            file[name] = (rows if length else rows[0]).astype(dtype)
    return path


class Made:
    """Both data sets over the same two files."""

    def __init__(self, folder: Path, dtype: type) -> None:
        videos = write(folder / "videos", VIDEOS, 5, dtype)
        words = {name: length for name, (length, *_) in CAPTIONS.items()}
        texts = write(folder / "texts", words, 3, dtype)
        rows = [(name, tuple(true), "text", (), "train") for name, (_, *true) in CAPTIONS.items()]
        table = Annotations(
            pd.DataFrame([(v, 1.0, "train", "") for v in VIDEOS], columns=VIDEO_COLUMNS),
            pd.DataFrame(rows, columns=QUERY_COLUMNS),
        )
        self.product_videos = product.VideoDataset(table, Hdf5Features(videos), SIZES)
        self.product_queries = product.QueryDataset(table, Hdf5Features(texts), SIZES)
        ids = list(VIDEOS)
        positives = [[ids.index(video) for video in true] for _, *true in CAPTIONS.values()]
        self.videos = baseline.VideoDataset(videos, ids, SIZES.num_clips, SIZES.max_frames)
        self.queries = baseline.QueryDataset(texts, list(CAPTIONS), positives, SIZES.max_words)


@pytest.fixture(params=[np.float32, np.float16, np.float64])
def made(tmp_path: Path, request: pytest.FixtureRequest) -> Made:
    return Made(tmp_path, request.param)


def test_items_equal_the_products(made: Made) -> None:
    for ours, theirs in ((made.videos, made.product_videos), (made.queries, made.product_queries)):
        assert len(ours) == len(theirs)
        for row in range(len(theirs)):
            torch.testing.assert_close(ours[row], tuple(theirs[row]), rtol=0, atol=1e-6)


def test_batches_equal_the_products(made: Made) -> None:
    ours = baseline.TrainDataset(made.videos, made.queries)
    theirs = product.TrainDataset(made.product_videos, made.product_queries)
    assert len(ours) == len(theirs)
    order = [2, 0, 3, 1]
    found = baseline.collate_train([ours[i] for i in order], SIZES.max_frames)
    expected = product.collate_train([theirs[i] for i in order], SIZES.max_frames)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert torch.equal(found.labels, expected.labels)
    assert type(found) is type(expected)


@needs_reference
def test_golden_pooling() -> None:
    from safetensors.numpy import load_file

    golden = load_file(REFERENCE / "pooling.safetensors")
    sizes = sorted(int(name.split("/")[1]) for name in golden if name.startswith("in/"))
    assert len(sizes) > 15
    for size in sizes:
        video = golden[f"in/{size}"]
        clips = baseline.pool(video, 32)
        frames = baseline.pool(video, 128) if size > 128 else video
        np.testing.assert_allclose(clips, golden[f"clip/{size}"], rtol=0, atol=1e-6)
        np.testing.assert_allclose(frames, golden[f"frame/{size}"], rtol=0, atol=1e-6)
