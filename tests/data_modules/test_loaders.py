from pathlib import Path

import pytest
import torch
from packed_items import items
from torch.utils.data import DataLoader

from data_modules.loaders import SplitLoaders
from data_modules.packed.ahead import AheadLoader
from data_modules.packed.dataset import PackedVideos
from data_modules.packed.features import PackedFeatures
from dreamprvr.batch import Queries, TrainBatch, Videos


def made(folder: Path, packed: bool, workers: int = 0) -> SplitLoaders:
    data = items(folder)
    features = PackedFeatures(folder / "packed", "float32", resident=False)
    return SplitLoaders(*data, workers, features.stores(data, None) if packed else None)


@pytest.mark.parametrize("packed", [False, True])
def test_kinds_of_batches(tmp_path: Path, packed: bool):
    loaders = made(tmp_path, packed)
    assert isinstance(loaders.gallery(3).dataset, PackedVideos) == packed
    assert [b.row.tolist() for b in loaders.gallery(3)] == [[0, 1, 2], [3]]
    assert [b.row.tolist() for b in loaders.captions(2)] == [[0, 1], [2, 3]]
    kinds = [next(iter(x)) for x in (loaders.gallery(1), loaders.captions(1))]
    assert [type(kind) for kind in kinds] == [Videos, Queries]
    assert isinstance(next(iter(loaders.train(1, drop_last=False))), TrainBatch)


def order(loaders: SplitLoaders, drop_last: bool = False) -> list[list[int]]:
    torch.manual_seed(3)
    return [batch.videos.row.tolist() for batch in loaders.train(2, drop_last)]


def test_training_is_shuffled_alike(tmp_path: Path):
    read, packed = made(tmp_path, False), made(tmp_path, True)
    assert order(read) == order(packed)
    assert [len(rows) for rows in order(packed)] == [2, 1]
    assert [len(rows) for rows in order(packed, drop_last=True)] == [2]


def test_packed_features_are_gathered_by_a_thread_or_where_they_are_asked_for(tmp_path: Path):
    alone, ahead = (made(tmp_path, True, workers).gallery(3) for workers in (0, 2))
    assert (type(alone), type(ahead)) == (DataLoader, AheadLoader)
    assert ahead.num_workers == 0
    for first, second in zip(alone, ahead, strict=True):
        assert all(a.equal(b) for a, b in zip(first, second, strict=True))
