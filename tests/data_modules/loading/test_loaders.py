from pathlib import Path

import pytest
import torch
from packed_items import items
from torch.utils.data import DataLoader

from data_modules.loading.ahead import AheadLoader
from data_modules.loading.loaders import SplitLoaders
from data_modules.loading.packed import PackedFeatures, PackedVideos
from dreamprvr.core.batch import Queries, TrainBatch, Videos
from dreamprvr.core.errors import UserError


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
    assert isinstance(next(iter(loaders.train(1, seed=0))), TrainBatch)


def order(loaders: SplitLoaders, *, ranks: int = 1) -> list[list[int]]:
    return [batch.videos.row.tolist() for batch in loaders.train(2, 3, 0, ranks)]


def test_training_is_shuffled_alike(tmp_path: Path):
    read, packed, workers = made(tmp_path, False), made(tmp_path, True), made(tmp_path, False, 2)
    assert order(read) == order(packed) == order(workers)
    assert [len(rows) for rows in order(packed)] == [2, 1]


def test_of_several_processes_each_takes_full_batches(tmp_path: Path):
    expected = "batch_size is 2 on each of 2 processes, .* 3 training videos, 1 for each: give"
    with pytest.raises(UserError, match=expected):
        made(tmp_path, True).train(2, 3, 0, ranks=2)
    assert [len(rows) for rows in order(made(tmp_path, True))] == [2, 1]
    both = [made(tmp_path, False).train(1, 3, rank, ranks=2) for rank in range(2)]
    assert [len(loader) for loader in both] == [1, 1]


@pytest.mark.parametrize("packed", [False, True])
def test_a_pass_draws_nothing_from_the_generator_of_dropout(tmp_path: Path, packed: bool):
    loaders = made(tmp_path, packed)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    for loader in (loaders.train(2, 3), loaders.gallery(2), loaders.captions(2)):
        list(loader)
    assert torch.equal(torch.get_rng_state(), before)


def test_packed_features_are_gathered_by_a_thread_or_where_they_are_asked_for(tmp_path: Path):
    alone, ahead = (made(tmp_path, True, workers).gallery(3) for workers in (0, 2))
    assert (type(alone), type(ahead)) == (DataLoader, AheadLoader)
    assert ahead.num_workers == 0
    for first, second in zip(alone, ahead, strict=True):
        assert all(a.equal(b) for a, b in zip(first, second, strict=True))
