from typing import NamedTuple

import numpy as np
import pytest
import torch

from data_modules.packed.buffers import Buffers
from data_modules.packed.gather import Field, gather_queries, gather_videos
from data_modules.packed.ragged import flatten, offsets_of


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


def test_a_batch_that_is_held_stays_as_it_is():
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
