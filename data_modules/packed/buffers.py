"""Memory for batches that is used again once nobody holds what lay in it."""

import math
import threading
import weakref
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

# Rows of packed features start at the beginning of a page where they are a page long, and numpy's
# memory 16 bytes behind it. A processor takes such a store for one into the row that it reads next,
# and waits: copying is five times as slow.
PAGE, START = 4096, 64
MOST = 12  # three tensors of a batch: the one in use, the next, and two to spare


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
        """A tensor whose memory no other living tensor shares."""
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
    """Uninitialised memory that begins `START` bytes into a page."""
    memory = np.empty(size + PAGE, np.uint8)
    begin = (START - memory.ctypes.data) % PAGE
    return memory[begin : begin + size]
