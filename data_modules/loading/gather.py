"""Gather batches from packed rows: one gather a tensor, on whatever device the rows are.

Items of any length lie one after the other: item i has the rows [offsets[i], offsets[i + 1]). Which
rows a batch takes is computed on the CPU, from the offsets, in a few array operations; so no size
is ever read back from a device.
"""

import math
import threading
import weakref
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from dreamprvr.core.batch import Queries, Videos

# Rows that are a page long start at the beginning of a page, and NumPy's memory 16 bytes after one.
# With these two places a processor takes what it writes for the row that it reads next, and waits:
# copying is five times as slow. `START` avoids that.
PAGE, START = 4096, 64


MOST = 12  # three tensors of a batch: the one in use, the next, and two to spare


def offsets_of(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return the offsets (N + 1,) int64 of items of these lengths (N,)."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def flatten(lists: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Join lists of numbers to one array (T,) int64, and return its offsets (N + 1,) too."""
    offsets = offsets_of([len(numbers) for numbers in lists])
    return np.fromiter(chain.from_iterable(lists), np.int64, offsets[-1]), offsets


def padded(
    offsets: np.ndarray, items: np.ndarray, length: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of some items as a rectangle.

    Args:
        offsets: offsets of all items, (N + 1,) int64.
        items: numbers of the items, (B,) int64, in any order, perhaps with repeats.
        length: width L of the rectangle; by default the length of the longest item.

    Returns:
        Places (B, L) int64, padded with the place after the end of the last item; and a mask
        (B, L) bool, false for padding.
    """
    starts = offsets[items]
    lengths = offsets[items + 1] - starts
    column = np.arange(lengths.max() if length is None else length)
    inside = column < lengths[:, None]  # (B, L)
    return np.where(inside, starts[:, None] + column, offsets[-1]), inside


def joined(offsets: np.ndarray, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of some items one after the other, and the item of each place.

    Args:
        offsets: offsets of all items, (N + 1,) int64.
        items: numbers of the items, (B,) int64.

    Returns:
        Places (T,), and for each of them the position in `items`, (T,).
    """
    starts = offsets[items]
    lengths = offsets[items + 1] - starts
    ends = np.cumsum(lengths)
    places = np.repeat(starts - ends + lengths, lengths) + np.arange(ends[-1])
    return places, np.repeat(np.arange(len(items)), lengths)


class _Slot(NamedTuple):
    memory: np.ndarray  # (bytes,) uint8
    holder: "weakref.ref[np.ndarray]"  # dead once no tensor shares the memory


class Buffers:
    """Uninitialised tensors on the CPU.

    The first touch of fresh memory costs several times what filling it with a batch does: the
    system clears it page by page. A tensor's storage keeps alive the array that it was made from,
    and views share the storage; so the array's end tells that the memory is free.
    """

    def __init__(self) -> None:
        self._slots: list[_Slot] = []
        self._lock = threading.Lock()  # two passes over one loader gather in two threads

    def __reduce__(self) -> tuple[type["Buffers"], tuple[()]]:
        return Buffers, ()  # each process has its own

    def take(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return a tensor whose memory no other living tensor shares."""
        with self._lock:
            holder = self._take(math.prod(shape) * dtype.itemsize)
        return torch.from_numpy(holder).view(dtype).view(shape)

    def _take(self, size: int) -> np.ndarray:
        free = [i for i, slot in enumerate(self._slots) if slot.holder() is None]
        fitting = [i for i in free if size <= self._slots[i].memory.nbytes <= 2 * size]
        if fitting:
            memory = self._slots.pop(fitting[0]).memory
        else:
            memory = _aligned(size + size // 8)  # batches of captions vary in length
            if len(self._slots) >= MOST and free:
                del self._slots[free[0]]
        holder = memory[:size]
        if len(self._slots) < MOST:
            self._slots.append(_Slot(memory, weakref.ref(holder)))
        return holder


def _aligned(size: int) -> np.ndarray:
    """Return uninitialised memory that begins `START` bytes after the start of a page."""
    memory = np.empty(size + PAGE, np.uint8)
    begin = (START - memory.ctypes.data) % PAGE
    return memory[begin : begin + size]


class Field(NamedTuple):
    """The rows of N items, one after the other, and a row of zeros for padding."""

    rows: Tensor  # (R + 1, F) float32 or float16, on any device; the last row is zero
    offsets: np.ndarray  # (N + 1,) int64; item i has the rows [offsets[i], offsets[i + 1])


class FieldSource(Protocol):
    """A store that gives fields by name."""

    def field(self, name: str) -> Field:
        """Return a field."""


def gather_videos(source: FieldSource, rows: np.ndarray, frames: int, buffers: Buffers) -> Videos:
    """Gather a batch of videos.

    Args:
        source: store with the fields `clips` and `frames`.
        rows: rows of the videos, (B,) int64.
        frames: length that frames are padded to.
        buffers: memory on the CPU.
    """
    clips, _ = _gather(source.field("clips"), rows, None, buffers)
    padded_frames, mask = _gather(source.field("frames"), rows, frames, buffers)
    return Videos(_put(rows, clips), clips, padded_frames, mask)


def gather_queries(
    source: FieldSource,
    rows: np.ndarray,
    positives: np.ndarray,
    offsets: np.ndarray,
    buffers: Buffers,
) -> Queries:
    """Gather a batch of captions, padded to the longest.

    Args:
        source: store with the field `words`.
        rows: rows of the captions, (Q,) int64.
        positives: true videos of all captions one after the other, and -1, (T + 1,) int64.
        offsets: offsets of the captions in `positives`, (N + 1,) int64.
        buffers: memory on the CPU.
    """
    words, mask = _gather(source.field("words"), rows, None, buffers)
    true = positives[padded(offsets, rows)[0]]  # (Q, P)
    return Queries(_put(rows, words), words, mask, _put(true, words))


def _gather(
    field: Field, items: np.ndarray, length: int | None, buffers: Buffers
) -> tuple[Tensor, Tensor]:
    """Gather rows (B, L, F) float32, zero after an item's end, and a mask (B, L) float32."""
    places, inside = padded(field.offsets, items, length)
    places = places.astype(np.int32) if len(field.rows) < 2**31 else places
    picked = _select(field.rows, _put(places.reshape(-1), field.rows), buffers)
    return picked.view(*places.shape, -1), _put(inside.astype(np.float32), field.rows)


def _select(rows: Tensor, places: Tensor, buffers: Buffers) -> Tensor:
    if rows.device.type != "cpu":  # its allocator keeps memory by itself
        return rows.index_select(0, places).float()
    shape = (len(places), rows.shape[1])
    picked = torch.index_select(rows, 0, places, out=buffers.take(shape, rows.dtype))
    if rows.dtype == torch.float32:
        return picked
    return buffers.take(shape, torch.float32).copy_(picked)


def _put(values: np.ndarray, like: Tensor) -> Tensor:
    return on_device(torch.from_numpy(values), like.device)


def on_device(values: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor of the CPU to a device without waiting for the copy to end."""
    if device.type == "cuda":  # from other memory, a copy may wait for all that is under way
        values = values.pin_memory()
    return values.to(device, non_blocking=True)
