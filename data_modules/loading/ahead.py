"""A loader whose batches are gathered ahead by a thread."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from torch.utils.data import DataLoader

T = TypeVar("T", covariant=True)
AHEAD = 2  # batches that wait or are being gathered while one is used
_END = object()


class AheadLoader(DataLoader[T]):
    """Gathers the next batches in a thread of this process; its arguments are `DataLoader`'s.

    A loading process hands each batch over in fresh shared memory, which costs several times what
    gathering it does. A thread hands over nothing, and a gather does not hold the interpreter.
    """

    def __iter__(self) -> Any:
        """Batches in the order of a loader without a thread."""
        return _gather_ahead(super().__iter__())


def _gather_ahead(batches: Iterator[T]) -> Iterator[T]:
    first: Any = next(batches, _END)
    if first is _END:
        return
    with ThreadPoolExecutor(1, thread_name_prefix="gather") as thread:
        coming = deque(thread.submit(next, batches, _END) for _ in range(AHEAD))
        yield first
        while (batch := coming.popleft().result()) is not _END:
            coming.append(thread.submit(next, batches, _END))
            yield batch  # type: ignore[misc]
