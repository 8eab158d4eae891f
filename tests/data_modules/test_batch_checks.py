"""Every promise about a batch is really checked: break one, and it is named."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from data_modules.base import FeatureSet, PRVRDataModule
from data_modules.batch_checks import check_train_batch
from data_modules.testing import write_tiny
from dreamprvr.core.batch import TrainBatch


class Small(PRVRDataModule):
    collection = "small"
    feature_sets = {"standard": FeatureSet("FeatureData/v", "TextData/t.hdf5", 8, 6)}


@pytest.fixture
def data(tmp_path: Path) -> Small:
    write_tiny(Small, tmp_path, max_rows=3)
    return Small(tmp_path, num_workers=0, max_frames=8, num_clips=4, max_words=5)


@pytest.fixture
def batch(data: Small) -> TrainBatch:
    return next(iter(data.train_dataloader()))


def test_a_sound_batch(data: Small, batch: TrainBatch):
    check_train_batch(batch, data, 6)
    with pytest.raises(AssertionError, match=r"positives are not in -1 \.\. 4"):
        check_train_batch(batch, data, 5)


def put(value: float, *place: Any) -> Callable[[Tensor], Tensor]:
    def change(tensor: Tensor) -> Tensor:
        tensor = tensor.clone()
        tensor[place] = value
        return tensor

    return change


CHANGES: list[tuple[str, str, Callable[[Tensor], Tensor], str]] = [
    ("videos", "row", Tensor.int, r"row is torch\.int32, not torch\.int64"),
    ("videos", "clips", lambda t: t[:, 1:], r"clips has shape \(6, 3, 8\), not \(6, 4, 8\)"),
    ("videos", "clips", lambda t: t * 1.5, "clips have norms from 1.500 to 1.500"),
    ("videos", "frames", Tensor.double, r"frames is torch\.float64"),
    ("videos", "frames", put(1, 0, -1), "frames behind the end are not zero"),
    ("videos", "frames", lambda t: t * 0.9, "frames have norms"),
    ("videos", "frame_mask", put(0.5, 0, 0), "more than 0 and 1"),
    ("videos", "frame_mask", put(0, 0), "hides everything"),
    ("videos", "frame_mask", put(1, 0, -1), "ones, then zeros"),
    ("queries", "words", lambda t: t[..., 1:], "words has shape"),
    ("queries", "words", lambda t: t * 1.5, "words have norms"),
    ("queries", "word_mask", Tensor.bool, r"word_mask is torch\.bool"),
    ("queries", "word_mask", put(0, 0), "hides everything"),
    ("queries", "positives", put(99, 0), "positives are not in"),
    ("queries", "positives", put(-1, 0), "no true video in its first place"),
    ("queries", "positives", lambda t: (t + 1) % 6, "not among its query's positives"),
    (
        "queries",
        "positives",
        lambda t: torch.cat([t, torch.full_like(t, -1), t], dim=1),
        "padding .* comes before",
    ),
    ("", "labels", Tensor.float, r"labels is torch\.float32"),
    ("", "labels", lambda t: t.flip(0), "labels are not sorted"),
    ("", "labels", lambda t: t.clamp(max=4), r"labels name videos \[0, 1, 2, 3, 4\] of 6"),
]


@pytest.mark.parametrize(("part", "name", "change", "message"), CHANGES)
def test_a_broken_promise_is_named(
    data: Small,
    batch: TrainBatch,
    part: str,
    name: str,
    change: Callable[[Tensor], Tensor],
    message: str,
):
    inner: Any = getattr(batch, part) if part else batch
    changed = inner._replace(**{name: change(getattr(inner, name))})
    with pytest.raises(AssertionError, match=message):
        check_train_batch(batch._replace(**{part: changed}) if part else changed, data, 6)


def test_too_many_words(data: Small, batch: TrainBatch):
    data.sizes = data.sizes._replace(max_words=2)
    with pytest.raises(AssertionError, match="at most max_words"):
        check_train_batch(batch, data, 6)
