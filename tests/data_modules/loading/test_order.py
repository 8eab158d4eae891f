from typing import Any

import pytest
import torch
from torch.utils.data import SequentialSampler

from data_modules.loading.order import (
    EpochOrder,
    ResumableAheadLoader,
    ResumableLoader,
    SameOrder,
)


class Numbers(list):  # type: ignore[type-arg]
    """A data set of its own rows."""


DATA: Any = Numbers(range(10))


def order(epoch: int, seed: int = 0, rank: int = 0, ranks: int = 1) -> list[int]:
    sampler = EpochOrder(DATA, seed, rank, ranks)
    sampler.set_epoch(epoch)
    return list(sampler)


def test_the_order_is_made_from_seed_and_epoch_alone() -> None:
    torch.manual_seed(1)
    first = order(3)
    torch.manual_seed(2)
    torch.rand(7)
    assert order(3) == first
    assert sorted(first) == list(range(10))
    orders = [order(epoch, seed) for epoch in range(4) for seed in (0, 1, 2**64 - 1)]
    assert len({tuple(one) for one in orders}) == 12


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_processes_together_take_what_one_takes_with_larger_batches(ranks: int) -> None:
    one, parts = order(2), [order(2, 0, rank, ranks) for rank in range(ranks)]
    assert {len(part) for part in parts} == {10 // ranks}
    for step in range(10 // ranks):
        assert [part[step] for part in parts] == one[step * ranks : (step + 1) * ranks]


def loader(kind: type[ResumableLoader], epoch: int = 0, **options: Any) -> ResumableLoader:
    made = kind(dataset=DATA, batch_size=3, collate_fn=list, sampler=EpochOrder(DATA, 5), **options)
    made.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
    return made


@pytest.mark.parametrize("kind", [ResumableLoader, ResumableAheadLoader])
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("done", [0, 1, 3, 4])
def test_the_batches_that_were_left_come_in_the_same_order(
    kind: type[ResumableLoader], workers: int, done: int
) -> None:
    options = {"num_workers": workers, "persistent_workers": workers > 0}
    whole, stopped, resumed = (loader(kind, 7, **options) for _ in range(3))
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
    assert list(resumed) == list(loader(kind, 8))


def test_the_seed_of_the_checkpoint_counts() -> None:
    resumed, whole = loader(ResumableLoader, 1), loader(ResumableLoader, 1)
    resumed.sampler.seed = 6  # type: ignore[attr-defined]
    assert list(resumed) != list(whole)
    resumed.load_state_dict(whole.state_dict() | {"epoch": 0})
    assert list(resumed) == list(whole)


def test_the_epoch_may_be_told_after_the_pass_has_begun() -> None:
    """As Lightning does: it makes an iterator before it tells the epoch."""
    early = loader(ResumableLoader)
    passing = iter(early)
    early.sampler.set_epoch(4)  # type: ignore[attr-defined]
    assert list(passing) == list(loader(ResumableLoader, 4))


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


def test_another_sampler_of_the_trainers_is_left_alone() -> None:
    made = ResumableLoader(
        dataset=DATA, batch_size=3, collate_fn=list, sampler=SequentialSampler(DATA)
    )
    made.load_state_dict(loader(ResumableLoader).state_dict())
    assert list(made) == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
