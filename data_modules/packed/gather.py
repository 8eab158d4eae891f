"""Batches from packed rows: one gather a tensor, on whatever device the rows are.

Which rows is computed on the CPU, from offsets; so no size is ever read back from a device.
"""

from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from data_modules.packed.buffers import Buffers
from data_modules.packed.ragged import padded
from dreamprvr.core.batch import Queries, Videos


class Field(NamedTuple):
    """The rows of N items, one after the other, and a row of zeros for padding."""

    rows: Tensor  # (R + 1, F) float32 or float16, on any device; the last row is zero
    offsets: np.ndarray  # (N + 1,) int64; item i has the rows [offsets[i], offsets[i + 1])


class FieldSource(Protocol):
    """What gives fields by name."""

    def field(self, name: str) -> Field:
        """A field."""


def gather_videos(source: FieldSource, rows: np.ndarray, frames: int, buffers: Buffers) -> Videos:
    """A batch of videos.

    Args:
        source: gives `clips` and `frames`.
        rows: (B,) int64, rows of the videos.
        frames: length that frames are padded to.
        buffers: gives memory on the CPU.
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
    """A batch of captions, padded to the longest.

    Args:
        source: gives `words`.
        rows: (Q,) int64, rows of the captions.
        positives: (T + 1,) int64, true videos of all captions one after the other, and -1.
        offsets: (N + 1,) int64, of `positives`.
        buffers: gives memory on the CPU.
    """
    words, mask = _gather(source.field("words"), rows, None, buffers)
    true = positives[padded(offsets, rows)[0]]  # (Q, P)
    return Queries(_put(rows, words), words, mask, _put(true, words))


def _gather(
    field: Field, items: np.ndarray, length: int | None, buffers: Buffers
) -> tuple[Tensor, Tensor]:
    """Rows (B, L, F) float32 of items, zero behind their ends, and a mask (B, L) float32."""
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
    """A copy of what lies on the CPU that the host does not wait for."""
    if device.type == "cuda":  # from other memory, a copy may wait for all that is under way
        values = values.pin_memory()
    return values.to(device, non_blocking=True)
