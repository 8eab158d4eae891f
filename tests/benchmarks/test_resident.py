import itertools

import numpy as np
import pytest
import torch

from benchmarks.inputs import settings
from benchmarks.resident import ResidentSplit, endless


@pytest.fixture
def split() -> ResidentSplit:
    return ResidentSplit(settings("synthetic"), videos=5, captions=3, device="cpu")


def test_a_batch_holds_videos_with_all_their_captions(split: ResidentSplit) -> None:
    batch = split.batch(np.array([4, 1]))
    assert batch.videos.row.tolist() == [4, 1]
    assert batch.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert batch.queries.row.tolist() == [12, 13, 14, 3, 4, 5]
    assert batch.queries.positives[:, 0].tolist() == [4, 4, 4, 1, 1, 1]
    assert batch.videos.frames.shape == (2, 64, 128)
    assert batch.videos.frames.dtype == torch.float32
    norms = batch.videos.frames.norm(dim=-1)
    assert not norms[batch.videos.frame_mask == 0].any()
    assert 0.5 < norms[batch.videos.frame_mask == 1].min() < norms.max() < 1.5
    assert torch.equal(split.batch(np.array([1])).videos.clips[0], batch.videos.clips[1])


def test_an_epoch_is_every_video_once(split: ResidentSplit) -> None:
    epochs = [[b.videos.row.tolist() for b in split.epoch(2, seed)] for seed in (0, 1)]
    assert [len(rows) for rows in epochs[0]] == [2, 2, 1]
    assert sorted(itertools.chain(*epochs[0])) == list(range(5))
    assert epochs[0] != epochs[1]


def test_endless_batches_are_full(split: ResidentSplit) -> None:
    batches = endless(split, 2)
    assert [len(next(batches).videos.row) for _ in range(6)] == [2] * 6


def test_bytes_are_those_of_the_rows(split: ResidentSplit) -> None:
    rows = sum(split.field(name).rows.numel() for name in ("clips", "frames", "words"))
    assert split.bytes == 2 * rows
