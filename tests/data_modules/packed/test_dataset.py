"""Packed data sets give the batches of reading item by item, bit for bit."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from packed_items import SIZES, items, tables
from torch.utils.data import DataLoader

from data_modules.dataset import (
    QueryDataset,
    TrainDataset,
    VideoDataset,
    collate_queries,
    collate_train,
    collate_videos,
)
from data_modules.packed.dataset import PackedQueries, PackedTrain, PackedVideos, as_is
from data_modules.packed.packing import Packing

ROWS = [[0], [3, 0], [2, 2, 1], [1, 3, 2, 0]]


class Both:
    """The same split, read and packed."""

    def __init__(self, folder: Path, data: tuple[VideoDataset, QueryDataset]) -> None:
        self.videos, self.queries = data
        self.train = TrainDataset(*data)
        packing = Packing(folder / "packed", "float32")
        self.packed_videos = PackedVideos(packing.store(data[0]), SIZES.max_frames)
        self.packed_queries = PackedQueries(packing.store(data[1]), data[1])
        self.packed_train = PackedTrain(self.packed_videos, self.packed_queries, self.train)


@pytest.fixture
def both(tmp_path: Path) -> Both:
    return Both(tmp_path, items(tmp_path))


def same(first: object, second: object) -> bool:
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    assert isinstance(first, tuple)
    assert isinstance(second, tuple)
    return type(first) is type(second) and all(map(same, first, second))


@pytest.mark.parametrize("rows", ROWS)
def test_batches_of_videos(both: Both, rows: list[int]):
    expected = collate_videos([both.videos[row] for row in rows], SIZES.max_frames)
    assert same(both.packed_videos.__getitems__(rows), expected)


@pytest.mark.parametrize("rows", ROWS)
def test_batches_of_captions(both: Both, rows: list[int]):
    expected = collate_queries([both.queries[row] for row in rows])
    assert same(both.packed_queries.__getitems__(rows), expected)


@pytest.mark.parametrize("rows", [[0], [2, 0], [1, 1], [0, 1, 2]])
def test_training_batches(both: Both, rows: list[int]):
    # b has no caption, c has two, and c#0 is trained with both of its videos
    expected = collate_train([both.train[row] for row in rows], SIZES.max_frames)
    assert same(both.packed_train.__getitems__(rows), expected)


def test_one_video_with_one_caption(tmp_path: Path):
    both = Both(tmp_path, items(tmp_path, tables(videos=1, captions=1)))
    assert len(both.packed_videos) == len(both.packed_queries) == len(both.packed_train) == 1
    expected = collate_train([both.train[0]], SIZES.max_frames)
    assert same(both.packed_train[0], expected)
    assert same(both.packed_videos[0], expected.videos)
    assert same(both.packed_queries[0], expected.queries)


def test_loaders_ask_for_whole_batches(both: Both, monkeypatch: pytest.MonkeyPatch):
    asked: list[list[int]] = []
    inner = PackedVideos.__getitems__

    def getitems(self: PackedVideos, rows: list[int]):
        asked.append(rows)
        return inner(self, rows)

    monkeypatch.setattr(PackedVideos, "__getitems__", getitems)
    loader = DataLoader(both.packed_videos, batch_size=3, collate_fn=as_is)
    batches = list(loader)
    assert asked == [[0, 1, 2], [3]]
    assert [batch.row.tolist() for batch in batches] == asked


def test_lengths(both: Both):
    assert [len(both.packed_videos), len(both.packed_queries), len(both.packed_train)] == [4, 4, 3]


def test_copies_read_the_same(both: Both):
    for data in (both.packed_videos, both.packed_queries, both.packed_train):
        copy = pickle.loads(pickle.dumps(data))
        assert same(copy.__getitems__([1, 0]), data.__getitems__([1, 0]))


def test_rows_may_be_an_array(both: Both):
    first = both.packed_queries.__getitems__(np.array([2, 1]))
    assert same(first, both.packed_queries.__getitems__([2, 1]))
