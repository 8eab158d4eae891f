"""A thread changes neither batches nor their order nor torch's random numbers."""

import threading
import time
from collections.abc import Sequence

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from data_modules.loading.ahead import AHEAD, AheadLoader
from data_modules.loading.packed import as_is


class Numbers(Dataset[list[int]]):
    """Batches of their own rows; notes which thread asked for them."""

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
