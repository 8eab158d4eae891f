import pickle
from typing import NamedTuple

import numpy as np
import pytest
import torch

from data_modules.loading.gather import (
    MOST,
    PAGE,
    START,
    Buffers,
    Field,
    flatten,
    gather_queries,
    gather_videos,
    joined,
    offsets_of,
    padded,
)

OFFSETS = np.array([0, 2, 3, 7])  # items of 2, 1 and 4


def test_offsets():
    assert offsets_of([2, 1, 4]).tolist() == OFFSETS.tolist()
    assert offsets_of([]).tolist() == [0]


def test_flatten():
    flat, offsets = flatten([[5, 6], [], [7]])
    assert flat.tolist() == [5, 6, 7]
    assert offsets.tolist() == [0, 2, 2, 3]
    assert flat.dtype == np.int64


def test_padded_to_the_longest():
    places, inside = padded(OFFSETS, np.array([1, 0, 1]))
    assert places.tolist() == [[2, 7], [0, 1], [2, 7]]
    assert inside.tolist() == [[True, False], [True, True], [True, False]]


def test_padded_to_a_length():
    places, inside = padded(OFFSETS, np.array([2, 1]), 5)
    assert places.tolist() == [[3, 4, 5, 6, 7], [2, 7, 7, 7, 7]]
    assert inside.sum(axis=1).tolist() == [4, 1]


@pytest.mark.parametrize("items", [[0], [2, 0], [1, 1, 2], [2, 1, 0]])
def test_joined(items: list[int]):
    places, owner = joined(OFFSETS, np.array(items))
    expected = [(p, i) for i, n in enumerate(items) for p in range(OFFSETS[n], OFFSETS[n + 1])]
    assert list(zip(places.tolist(), owner.tolist(), strict=True)) == expected


def test_shape_and_type():
    taken = Buffers().take((2, 3), torch.float16)
    assert taken.shape == (2, 3)
    assert taken.dtype == torch.float16
    assert taken.is_contiguous()


def test_memory_lies_where_copying_is_fast():
    """Not 16 bytes behind the rows' own place in their page, as numpy's own large arrays do."""
    for size in (10, 10**6, 10**7):
        assert Buffers().take((size,), torch.float32).data_ptr() % PAGE == START


def test_memory_is_used_again_once_free():
    buffers = Buffers()
    taken = buffers.take((100, 10), torch.float32)
    place = taken.data_ptr()
    del taken
    # a little longer or shorter still fits; half precision takes half
    for shape, dtype in (((110, 10), torch.float32), ((90, 10), torch.float32),
                         ((190, 10), torch.float16)):  # fmt: skip
        again = buffers.take(shape, dtype)
        assert again.data_ptr() == place
        del again
    assert buffers.take((1000, 10), torch.float32).data_ptr() != place


def test_memory_in_use_is_never_overwritten():
    buffers = Buffers()
    first = buffers.take((50, 4), torch.float32).fill_(1)
    view = first[10:20].view(-1)
    del first
    for number in range(3 * MOST):
        buffers.take((50, 4), torch.float32).fill_(number)
    assert (view == 1).all()


def test_many_held_at_once_are_all_different():
    buffers = Buffers()
    held = [buffers.take((8,), torch.float32).fill_(i) for i in range(3 * MOST)]
    assert [tensor[0].item() for tensor in held] == list(range(3 * MOST))
    assert len(buffers._slots) <= MOST


def test_memory_of_outgrown_sizes_is_let_go():
    buffers = Buffers()
    for size in range(1, 4 * MOST):
        buffers.take((10 ** (size % 5), size), torch.float32)
    assert len(buffers._slots) <= MOST


def test_a_pickled_copy_shares_no_memory():
    buffers = Buffers()
    buffers.take((8,), torch.float32)
    assert pickle.loads(pickle.dumps(buffers))._slots == []


class Fields(NamedTuple):
    fields: dict[str, Field]

    def field(self, name: str) -> Field:
        return self.fields[name]


def made(lengths: list[int], dtype: torch.dtype = torch.float32) -> Field:
    """Row i holds i + 1, twice."""
    rows = torch.arange(1, sum(lengths) + 2)[:, None].repeat(1, 2).to(dtype)
    rows[-1] = 0
    return Field(rows, offsets_of(lengths))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_videos(dtype: torch.dtype):
    source = Fields({"clips": made([2, 2, 2], dtype), "frames": made([1, 3, 2], dtype)})
    batch = gather_videos(source, np.array([1, 0]), 4, Buffers())
    assert batch.row.tolist() == [1, 0]
    assert batch.clips[..., 0].tolist() == [[3, 4], [1, 2]]
    assert batch.frames[..., 1].tolist() == [[2, 3, 4, 0], [1, 0, 0, 0]]
    assert batch.frame_mask.tolist() == [[1, 1, 1, 0], [1, 0, 0, 0]]
    assert {t.dtype for t in batch[1:]} == {torch.float32}


def test_queries():
    source = Fields({"words": made([2, 1, 4])})
    positives, offsets = flatten([[4, 1], [0], [7]])
    batch = gather_queries(source, np.array([1, 0]), np.append(positives, -1), offsets, Buffers())
    assert batch.row.tolist() == [1, 0]
    assert batch.words[..., 0].tolist() == [[3, 0], [1, 2]]
    assert batch.word_mask.tolist() == [[1, 0], [1, 1]]
    assert batch.positives.tolist() == [[0, -1], [4, 1]]


def test_a_batch_in_use_is_not_overwritten():
    source = Fields({"clips": made([1] * 9), "frames": made([1] * 9)})
    buffers = Buffers()
    held = [gather_videos(source, np.array([i]), 2, buffers) for i in range(9)]
    assert [batch.clips[0, 0, 0].item() for batch in held] == list(range(1, 10))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_is_never_waited_for():
    fields = {name: made(lengths) for name, lengths in {"clips": [2, 2], "frames": [3, 1]}.items()}
    there = {n: Field(f.rows.cuda(), f.offsets) for n, f in fields.items()}
    torch.cuda.set_sync_debug_mode("error")
    try:
        batch = gather_videos(Fields(there), np.array([1, 0]), 4, Buffers())
    finally:
        torch.cuda.set_sync_debug_mode("default")
    here = gather_videos(Fields(fields), np.array([1, 0]), 4, Buffers())
    assert all(torch.equal(a.cpu(), b) for a, b in zip(batch, here, strict=True))
