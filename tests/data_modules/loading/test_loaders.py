"""A thread changes neither batches nor their order nor torch's random numbers."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from packed_items import items
from torch.utils.data import DataLoader, Dataset, SequentialSampler

from data_modules.loading.loaders import (
    AHEAD,
    AheadLoader,
    EpochOrder,
    ResumableAheadLoader,
    ResumableLoader,
    SameOrder,
    SplitLoaders,
)
from data_modules.loading.packed import PackedFeatures, PackedVideos, as_is
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


def test_packed_features_are_gathered_by_a_thread_or_by_the_caller(tmp_path: Path):
    alone, ahead = (made(tmp_path, True, workers).gallery(3) for workers in (0, 2))
    assert (type(alone), type(ahead)) == (DataLoader, AheadLoader)
    assert ahead.num_workers == 0
    for first, second in zip(alone, ahead, strict=True):
        assert all(a.equal(b) for a, b in zip(first, second, strict=True))


class Numbers(Dataset[list[int]]):
    """Batches that hold their own rows; the data set notes the thread that requests them."""

    def __init__(self, count: int, broken: int | None = None) -> None:
        self.count = count
        self.broken = broken
        self.asked: list[tuple[str, list[int]]] = []

    def __len__(self) -> int:
        return self.count

    def __getitems__(self, rows: Sequence[int]) -> list[int]:
        self.asked.append((threading.current_thread().name, list(rows)))
        if self.broken in rows:
            raise OSError(f"row {self.broken} cannot be read")
        return list(rows)


def loader(data: Numbers, **options: object) -> AheadLoader[list[int]]:
    return AheadLoader(dataset=data, batch_size=3, collate_fn=as_is, **options)  # type: ignore[arg-type]


def gatherers() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("gather")]


@pytest.mark.parametrize("count", [0, 1, 3, 10])
def test_batches_in_order(count: int):
    batches = [batch for batch in loader(Numbers(count))]
    assert [row for batch in batches for row in batch] == list(range(count))
    assert gatherers() == []


def test_the_same_shuffle_and_the_same_random_numbers_after_it():
    passes = []
    for kind in (DataLoader, AheadLoader):
        torch.manual_seed(3)
        made = kind(Numbers(50), batch_size=3, collate_fn=as_is, shuffle=True)
        passes.append([(batch, torch.rand(()).item()) for _ in range(2) for batch in made])
    assert passes[0] == passes[1]


def test_the_next_batches_are_gathered_in_a_thread_while_one_is_used():
    data = Numbers(30)
    batches = iter(loader(data))
    next(batches)
    deadline = time.monotonic() + 10
    while len(data.asked) < 1 + AHEAD and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.05)  # it does not run further ahead
    assert [rows[0] for _, rows in data.asked] == [0, 3, 6]
    assert data.asked[0][0] == threading.current_thread().name
    assert {name[:6] for name, _ in data.asked[1:]} == {"gather"}
    batches.close()
    assert gatherers() == []


@pytest.mark.parametrize("broken", [0, 4, 29])
def test_errors_come_with_their_batch(broken: int):
    batches = iter(loader(Numbers(30, broken)))
    assert [next(batches)[0] for _ in range(broken // 3)] == list(range(0, broken - broken % 3, 3))
    with pytest.raises(OSError, match=f"row {broken} cannot be read"):
        next(batches)
    assert gatherers() == []


def test_two_passes_at_once():
    both = loader(Numbers(20))
    assert all(first == second for first, second in zip(both, both, strict=True))


class Items(list):  # type: ignore[type-arg]
    """A data set of its own rows."""


DATA: Any = Items(range(10))


def order_of(epoch: int, seed: int = 0, rank: int = 0, ranks: int = 1) -> list[int]:
    sampler = EpochOrder(DATA, seed, rank, ranks)
    sampler.set_epoch(epoch)
    return list(sampler)


def test_the_order_depends_only_on_seed_and_epoch() -> None:
    torch.manual_seed(1)
    first = order_of(3)
    torch.manual_seed(2)
    torch.rand(7)
    assert order_of(3) == first
    assert sorted(first) == list(range(10))
    orders = [order_of(epoch, seed) for epoch in range(4) for seed in (0, 1, 2**64 - 1)]
    assert len({tuple(one) for one in orders}) == 12


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_processes_together_take_what_one_takes_with_larger_batches(ranks: int) -> None:
    one, parts = order_of(2), [order_of(2, 0, rank, ranks) for rank in range(ranks)]
    assert {len(part) for part in parts} == {10 // ranks}
    for step in range(10 // ranks):
        assert [part[step] for part in parts] == one[step * ranks : (step + 1) * ranks]


def resumable(kind: type[ResumableLoader], epoch: int = 0, **options: Any) -> ResumableLoader:
    made = kind(dataset=DATA, batch_size=3, collate_fn=list, sampler=EpochOrder(DATA, 5), **options)
    made.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
    return made


@pytest.mark.parametrize("kind", [ResumableLoader, ResumableAheadLoader])
@pytest.mark.parametrize(("workers", "done"), [(0, 0), (0, 1), (0, 3), (0, 4), (2, 1)])
def test_the_batches_that_were_left_come_in_the_same_order(
    kind: type[ResumableLoader], workers: int, done: int
) -> None:
    options = {"num_workers": workers, "persistent_workers": workers > 0}
    whole, stopped, resumed = (resumable(kind, 7, **options) for _ in range(3))
    batches = list(whole)
    assert [len(batch) for batch in batches] == [3, 3, 3, 1]
    passing = iter(stopped)
    for _ in range(done):
        next(passing)
    state = stopped.state_dict()  # whatever was loaded ahead
    resumed.load_state_dict(state)
    assert (resumed.state_dict(), len(resumed)) == (state, 4)
    assert list(resumed) == batches[done:]
    resumed.sampler.set_epoch(8)  # type: ignore[attr-defined]
    assert list(resumed) == list(resumable(kind, 8))


def test_the_seed_of_the_checkpoint_counts() -> None:
    resumed, whole = resumable(ResumableLoader, 1), resumable(ResumableLoader, 1)
    resumed.sampler.seed = 6  # type: ignore[attr-defined]
    assert list(resumed) != list(whole)
    resumed.load_state_dict(whole.state_dict() | {"epoch": 0})
    assert list(resumed) == list(whole)


def test_the_epoch_may_be_set_after_the_pass_has_begun() -> None:
    """Lightning makes an iterator before it sets the epoch."""
    early = resumable(ResumableLoader)
    passing = iter(early)
    early.sampler.set_epoch(4)  # type: ignore[attr-defined]
    assert list(passing) == list(resumable(ResumableLoader, 4))


def test_the_same_order_in_every_epoch_resumes_too() -> None:
    """As `overfit_batches` asks; the trainer leaves a sampler of this kind in its place."""
    whole, resumed = (
        ResumableLoader(DATA, batch_size=3, collate_fn=list, sampler=SameOrder(DATA, 5))
        for _ in range(2)
    )
    assert isinstance(whole.sampler, SequentialSampler)
    passing = iter(whole)
    assert next(passing) == [0, 1, 2]
    resumed.load_state_dict(whole.state_dict())
    assert list(resumed) == [[3, 4, 5], [6, 7, 8], [9]]
    resumed.sampler.set_epoch(1)  # type: ignore[attr-defined]
    assert list(resumed) == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
    shares = [list(SameOrder(DATA, 5, rank, 3)) for rank in range(3)]
    assert shares == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]


def test_another_sampler_of_the_trainer_is_kept() -> None:
    made = ResumableLoader(
        dataset=DATA, batch_size=3, collate_fn=list, sampler=SequentialSampler(DATA)
    )
    made.load_state_dict(resumable(ResumableLoader).state_dict())
    assert list(made) == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
