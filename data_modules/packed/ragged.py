"""Items of any length, one after the other: item i has the places [offsets[i], offsets[i + 1]).

Everything here is a few array operations, however many items there are.
"""

from collections.abc import Sequence
from itertools import chain

import numpy as np


def offsets_of(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """Offsets (N + 1,) int64 of items of these lengths (N,)."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def flatten(lists: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Lists of numbers as one array (T,) int64, and its offsets (N + 1,)."""
    offsets = offsets_of([len(numbers) for numbers in lists])
    return np.fromiter(chain.from_iterable(lists), np.int64, offsets[-1]), offsets


def padded(
    offsets: np.ndarray, items: np.ndarray, length: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The places of some items as a rectangle.

    Args:
        offsets: (N + 1,) int64.
        items: (B,) int64, in any order, perhaps with repeats.
        length: L, at least the longest item's; by default just that.

    Returns:
        Places (B, L) int64, padded with the place after the last item's last; and where they are
        none of the padding, (B, L) bool.
    """
    starts = offsets[items]
    lengths = offsets[items + 1] - starts
    column = np.arange(lengths.max() if length is None else length)
    inside = column < lengths[:, None]  # (B, L)
    return np.where(inside, starts[:, None] + column, offsets[-1]), inside


def joined(offsets: np.ndarray, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The places of some items one after the other (T,), and which of the B items each is of (T,).

    Args:
        offsets: (N + 1,) int64.
        items: (B,) int64.
    """
    starts = offsets[items]
    lengths = offsets[items + 1] - starts
    ends = np.cumsum(lengths)
    places = np.repeat(starts - ends + lengths, lengths) + np.arange(ends[-1])
    return places, np.repeat(np.arange(len(items)), lengths)
