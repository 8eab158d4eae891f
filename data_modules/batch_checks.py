"""What a batch promises to the network, as assertions (see `dreamprvr.core.batch`)."""

import torch
from torch import Tensor

from data_modules.base import PRVRDataModule
from dreamprvr.core.batch import Queries, TrainBatch, Videos

# a row of norm n is divided by n + 1e-5: even rows of norm 0.001 come out at 0.99
UNIT = 0.02


def check_videos(batch: Videos, data: PRVRDataModule) -> None:
    """Shapes, types, mask and lengths of B videos."""
    size, lengths = len(batch.row), data.sizes
    _expect("row", batch.row, (size,), torch.int64)
    _expect("clips", batch.clips, (size, lengths.num_clips, data.video_dim), torch.float32)
    _expect("frames", batch.frames, (size, lengths.max_frames, data.video_dim), torch.float32)
    _expect("frame_mask", batch.frame_mask, (size, lengths.max_frames), torch.float32)
    _check_mask("frame", batch.frames, batch.frame_mask)
    _check_unit("clips", batch.clips)
    _check_unit("frames", batch.frames)


def check_queries(batch: Queries, data: PRVRDataModule, gallery: int) -> None:
    """Shapes, types, mask, lengths and true videos of Q captions.

    Args:
        batch: the captions.
        data: knows the sizes.
        gallery: number of videos that positives may name.
    """
    size, longest = batch.words.shape[:2]
    _expect("row", batch.row, (size,), torch.int64)
    _expect("words", batch.words, (size, longest, data.text_dim), torch.float32)
    _expect("word_mask", batch.word_mask, (size, longest), torch.float32)
    assert longest <= data.sizes.max_words, f"captions of {longest} words; at most max_words"
    _check_mask("word", batch.words, batch.word_mask)
    _check_unit("words", batch.words)
    places = batch.positives
    _expect("positives", places, (size, places.shape[-1]), torch.int64)
    assert ((places >= -1) & (places < gallery)).all(), f"positives are not in -1 .. {gallery - 1}"
    assert (places[:, 0] >= 0).all(), "a query has no true video in its first place"
    padded = (places < 0).int()
    assert (padded.diff(dim=1) >= 0).all(), "padding (-1) comes before a true video"


def check_train_batch(batch: TrainBatch, data: PRVRDataModule, gallery: int) -> None:
    """Videos, queries, and the labels that tie them together."""
    check_videos(batch.videos, data)
    check_queries(batch.queries, data, gallery)
    videos, labels = batch.videos.row, batch.labels
    _expect("labels", labels, (len(batch.queries.row),), torch.int64)
    assert (labels.diff() >= 0).all(), "labels are not sorted"
    named = torch.unique(labels).tolist()
    assert named == list(range(len(videos))), f"labels name videos {named} of {len(videos)}"
    true = (batch.queries.positives == videos[labels][:, None]).any(dim=1)
    assert true.all(), "a label names a video that is not among its query's positives"


def _expect(name: str, tensor: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    assert tuple(tensor.shape) == shape, f"{name} has shape {tuple(tensor.shape)}, not {shape}"
    assert tensor.dtype == dtype, f"{name} is {tensor.dtype}, not {dtype}"


def _check_mask(name: str, rows: Tensor, mask: Tensor) -> None:
    """Ones, then zeros; nothing behind the last one."""
    assert ((mask == 0) | (mask == 1)).all(), f"{name}_mask holds more than 0 and 1"
    assert (mask[:, 0] == 1).all(), f"{name}_mask hides everything of an item"
    assert (mask.diff(dim=1) <= 0).all(), f"{name}_mask is no row of ones, then zeros"
    assert not rows[mask == 0].any(), f"{name}s behind the end are not zero"


def _check_unit(name: str, rows: Tensor) -> None:
    norm = rows.norm(dim=-1)
    assert ((norm == 0) | ((norm - 1).abs() < UNIT)).all(), (
        f"{name} have norms from {norm.min():.3f} to {norm.max():.3f}: neither 1 nor 0"
    )
