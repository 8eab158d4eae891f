from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

from data_modules.loading.dataset import (
    InputSizes,
    QueryDataset,
    TrainDataset,
    VideoDataset,
    collate_queries,
    collate_train,
    collate_videos,
)
from data_modules.readers.hdf5 import Hdf5Features
from data_modules.readers.tables import QUERY_COLUMNS, VIDEO_COLUMNS, Annotations

SIZES = InputSizes(num_clips=2, max_frames=4, max_words=3)
VIDEOS = {"a": 1, "b": 4, "c": 9}  # rows of each
CAPTIONS = {"a#0": ("a",), "c#0": ("c", "a"), "c#1": ("c",)}
WORDS = {"a#0": 2, "c#0": 3, "c#1": 5}


def store(path: Path, lengths: dict[str, int], dim: int) -> Hdf5Features:
    random = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for name, length in lengths.items():
            file[name] = random.standard_normal((length, dim)).astype(np.float32)
    return Hdf5Features(path)


@pytest.fixture
def videos(tmp_path: Path) -> VideoDataset:
    return VideoDataset(tables(), store(tmp_path / "v", VIDEOS, 5), SIZES)


@pytest.fixture
def queries(tmp_path: Path) -> QueryDataset:
    return QueryDataset(tables(), store(tmp_path / "t", WORDS, 3), SIZES)


def tables() -> Annotations:
    rows = [(name, true, "text", (), "train") for name, true in CAPTIONS.items()]
    return Annotations(
        pd.DataFrame([(v, 1.0, "train", "") for v in VIDEOS], columns=VIDEO_COLUMNS),
        pd.DataFrame(rows, columns=QUERY_COLUMNS),
    )


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-5)


def test_a_video_is_pooled_then_normalised(videos: VideoDataset):
    rows = videos.store["b"]
    item = videos[1]
    np.testing.assert_allclose(item.frames, unit(rows), rtol=1e-5)
    means = np.stack([rows[:2].mean(0), rows[2:3].mean(0)])  # the last boundary is N - 1
    np.testing.assert_allclose(item.clips, unit(means), rtol=1e-5)
    assert [len(videos[i].frames) for i in range(len(videos))] == [1, 4, 4]
    assert videos[0].clips.shape == (2, 5)


def test_a_caption_is_cut_and_normalised(queries: QueryDataset):
    item = queries[2]
    assert item.row == 2
    np.testing.assert_allclose(item.words, unit(queries.store["c#1"][:3]), rtol=1e-5)
    assert [q.positives.tolist() for q in map(queries.__getitem__, range(3))] == [[0], [2, 0], [2]]


def test_frames_are_padded_to_the_full_length(videos: VideoDataset):
    batch = collate_videos([videos[0], videos[2]], max_frames=6)
    assert batch.row.tolist() == [0, 2]
    assert batch.frames.shape == (2, 6, 5)
    assert batch.frame_mask.tolist() == [[1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0]]
    assert not batch.frames[batch.frame_mask == 0].any()
    assert torch.equal(batch.frames[1, :4], videos[2].frames)


def test_captions_are_padded_to_the_longest(queries: QueryDataset):
    batch = collate_queries([queries[0], queries[1]])
    assert batch.words.shape == (2, 3, 3)
    assert batch.word_mask.tolist() == [[1, 1, 0], [1, 1, 1]]
    assert not batch.words[0, 2].any()
    assert torch.equal(batch.words[0, :2], queries[0].words)
    assert batch.positives.tolist() == [[0, -1], [2, 0]]
    assert collate_queries([queries[0]]).words.shape == (1, 2, 3)


def test_training_items_are_the_captioned_videos(videos: VideoDataset, queries: QueryDataset):
    data = TrainDataset(videos, queries)
    found = [(v.row, [q.row for q in qs]) for v, qs in map(data.__getitem__, range(len(data)))]
    # b has no caption; c#0 is trained with both of its videos
    assert found == [(0, [0, 1]), (2, [1, 2])]


def test_training_batch(videos: VideoDataset, queries: QueryDataset):
    data = TrainDataset(videos, queries)
    batch = partial(collate_train, max_frames=4)([data[1], data[0]])
    assert batch.videos.row.tolist() == [2, 0]
    assert batch.queries.row.tolist() == [1, 2, 0, 1]
    assert batch.labels.tolist() == [0, 0, 1, 1]
    assert batch.labels.dtype == torch.int64
