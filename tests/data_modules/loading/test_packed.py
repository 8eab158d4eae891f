"""Packed data sets give the batches of reading item by item, bit for bit."""

import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from packed_items import SIZES, items, tables
from torch.utils.data import DataLoader

from data_modules.loading import packed as resident
from data_modules.loading.dataset import (
    QueryDataset,
    TrainDataset,
    VideoDataset,
    collate_queries,
    collate_train,
    collate_videos,
)
from data_modules.loading.packed import (
    PackedFeatures,
    PackedQueries,
    PackedTrain,
    PackedVideos,
    Resident,
    as_is,
)
from data_modules.loading.packed_store import PackedStore
from data_modules.loading.packing import Packing
from dreamprvr.core.errors import UserError

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


CPU = torch.device("cpu")


@pytest.fixture
def stores(tmp_path: Path) -> list[PackedStore]:
    packing = Packing(tmp_path / "packed", "float32")
    return [packing.store(data) for data in items(tmp_path)]


def test_on_the_cpu_nothing_is_copied(stores: list[PackedStore]):
    here = Resident(stores[0], CPU).field("frames")
    assert here.rows.data_ptr() == stores[0].field("frames").rows.data_ptr()
    assert here.offsets is stores[0].field("frames").offsets


def test_copied_once_to_another_device(stores: list[PackedStore]):
    resident = Resident(stores[0], torch.device("meta"))
    rows = resident.field("frames").rows
    assert rows.device.type == "meta"
    assert resident.field("frames").rows is rows
    resident.free()
    assert resident.field("frames").rows is not rows


@pytest.fixture
def residents(tmp_path: Path) -> PackedFeatures:
    return PackedFeatures(tmp_path / "packed", "float32", resident=True)


def test_each_store_is_placed_once(stores: list[PackedStore], residents: PackedFeatures):
    first, second, again = residents.place([*stores, stores[0]], CPU)
    assert first is again
    assert residents.place(stores[::-1], CPU) == [second, first]
    assert residents.place(stores[:1], torch.device("meta"))[0] is not first
    residents.free()
    assert residents.place(stores, CPU)[0] is not first


def test_stores_larger_than_the_device_are_refused(
    stores: list[PackedStore], residents: PackedFeatures, monkeypatch: pytest.MonkeyPatch
):
    gpu = torch.device("cuda:1")
    needed = stores[0].bytes + stores[1].bytes
    free = {"bytes": needed - 11}
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 30)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 20)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free["bytes"], 0))
    with pytest.raises(UserError, match=r"take 0\.0 GB, but 0\.0 GB are free on cuda:1: pack them"):
        residents.place([*stores, *stores], gpu)
    free["bytes"] += 1
    residents.place([*stores, *stores], gpu)
    free["bytes"] = 0
    residents.place(stores, gpu)  # they are there already


def trainer(local_rank: int = 0, device: str = "cpu") -> Any:
    strategy = SimpleNamespace(root_device=torch.device(device))
    return SimpleNamespace(local_rank=local_rank, strategy=strategy)


def test_stores_are_the_sources(tmp_path: Path):
    features = PackedFeatures(tmp_path / "packed", "float16", resident=False)
    sources = features.sources(items(tmp_path), [], trainer(device="meta"))
    assert sources == features.stores(items(tmp_path), None)
    assert sources[0].field("clips").rows.dtype == torch.float16
    assert sources[1].field("words").rows.device.type == "cpu"


@pytest.mark.parametrize(("boss", "device"), [(None, "cpu"), (trainer(device="meta"), "meta")])
def test_the_trainer_knows_the_device(tmp_path: Path, boss: Any, device: str):
    features = PackedFeatures(tmp_path / "packed", "float32", resident=True)
    data = items(tmp_path)
    videos, captions = features.sources(data, [data], boss)
    assert isinstance(videos, Resident)
    assert videos.field("clips").rows.device.type == device
    assert captions.field("words").rows.device.type == device
    features.free()
    assert features.sources(data, [data], boss)[0] is not videos


def test_all_splits_of_a_run_must_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[int] = []

    def check(needed: int, device: torch.device) -> None:
        asked.append(needed)
        if needed:
            raise UserError("too large")

    monkeypatch.setattr(resident, "_check_memory", check)
    features = PackedFeatures(tmp_path / "packed", "float32", resident=True)
    both = [items(tmp_path), items(tmp_path, tables(videos=3, captions=1))]
    with pytest.raises(UserError, match="too large"):
        features.sources(both[1], both, trainer())
    stores = [store for data in both for store in features.stores(data, None)]
    assert len({store.folder for store in stores}) == 4
    assert asked == [sum(store.bytes for store in stores)]


def test_only_the_first_process_of_a_machine_checks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    data = items(tmp_path)
    PackedFeatures(tmp_path / "packed", "float32", False).stores(data, trainer())
    verified: list[bool] = []
    inner = PackedStore.__init__

    def note(self: PackedStore, folder: Path, settings: Any, verify: bool) -> None:
        verified.append(verify)
        inner(self, folder, settings, verify)

    monkeypatch.setattr(PackedStore, "__init__", note)
    for rank in (0, 1):
        PackedFeatures(tmp_path / "packed", "float32", False).stores(data, trainer(rank))
    PackedFeatures(tmp_path / "packed", "float32", False).stores(data, None)
    assert verified == [True, True, False, False, True, True]
