"""Read videos and captions from HDF5 files and pool them row by row (docs/model.md, section 1)."""

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from dreamprvr.core.batch import Queries, TrainBatch, Videos

Video = tuple[int, Tensor, Tensor]  # row, clips (M_c, F), frames (up to M_f, F)
Caption = tuple[int, Tensor, Tensor]  # row, words (up to L, E), rows of the true videos


class Features:
    """A file with a dataset for each id, which each process opens at the first access."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files: dict[int, h5py.File] = {}  # by process: a fork must not share one

    def read(self, name: str) -> np.ndarray:
        """Read the rows of an id, (N, size) float32; a stored vector is one row."""
        process = os.getpid()
        if process not in self.files:
            self.files[process] = h5py.File(self.path, "r")
        return np.atleast_2d(self.files[process][name][()].astype(np.float32))


def pool(features: np.ndarray, length: int) -> np.ndarray:
    """Mean-pool (N, F) to (length, F)."""
    total = len(features)
    bounds = [min(round(i / length * total), total - 1) for i in range(length + 1)]
    rows = []
    for i in range(length):
        start, stop = bounds[i], bounds[i + 1]
        rows.append(features[start:stop].mean(axis=0) if start < stop else features[start])
    return np.stack(rows)


def normalise(rows: np.ndarray) -> Tensor:
    """Divide every row by (its L2 norm + 1e-5)."""
    return torch.from_numpy(rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-5))


class VideoDataset(Dataset[Video]):
    """Videos by row.

    Args:
        path: path of the HDF5 file.
        ids: ids of the videos, in the order of their rows.
        num_clips: number of clips, M_c.
        max_frames: largest number of frames, M_f.
    """

    def __init__(self, path: Path, ids: list[str], num_clips: int, max_frames: int) -> None:
        self.features = Features(path)
        self.ids = ids
        self.num_clips = num_clips
        self.max_frames = max_frames

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> Video:
        features = self.features.read(self.ids[row])
        clips = pool(features, self.num_clips)
        frames = pool(features, self.max_frames) if len(features) > self.max_frames else features
        return row, normalise(clips), normalise(frames)


class QueryDataset(Dataset[Caption]):
    """Captions by row.

    Args:
        path: path of the HDF5 file.
        ids: ids of the captions, in the order of their rows.
        positives: rows of the true videos of each caption.
        max_words: largest number of words, L.
    """

    def __init__(
        self, path: Path, ids: list[str], positives: list[list[int]], max_words: int
    ) -> None:
        self.features = Features(path)
        self.ids = ids
        self.positives = positives
        self.max_words = max_words

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> Caption:
        words = normalise(self.features.read(self.ids[row])[: self.max_words])
        return row, words, torch.tensor(self.positives[row])


class TrainDataset(Dataset[tuple[Video, list[Caption]]]):
    """All videos that have captions, each with all of them."""

    def __init__(self, videos: VideoDataset, queries: QueryDataset) -> None:
        self.videos = videos
        self.queries = queries
        self.captions: dict[int, list[int]] = {}
        for row, positives in enumerate(queries.positives):
            for video in positives:
                self.captions.setdefault(video, []).append(row)
        self.rows = sorted(self.captions)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Video, list[Caption]]:
        video = self.rows[index]
        return self.videos[video], [self.queries[row] for row in self.captions[video]]


def _pad(rows: list[Tensor], length: int, value: Any = 0) -> tuple[Tensor, Tensor]:
    """Pad rows of several lengths to one tensor, and return it with its mask."""
    padded = rows[0].new_full((len(rows), length, *rows[0].shape[1:]), value)
    mask = torch.zeros(len(rows), length)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = row
        mask[i, : len(row)] = 1
    return padded, mask


def collate_videos(items: list[Video], max_frames: int) -> Videos:
    """Join videos to a batch, with frames padded to `max_frames`."""
    rows, clips, frames = zip(*items, strict=True)
    return Videos(torch.tensor(rows), torch.stack(clips), *_pad(list(frames), max_frames))


def collate_queries(items: list[Caption]) -> Queries:
    """Join captions to a batch, padded to the longest."""
    rows, words, positives = zip(*items, strict=True)
    padded, mask = _pad(list(words), max(map(len, words)))
    true, _ = _pad(list(positives), max(map(len, positives)), value=-1)
    return Queries(torch.tensor(rows), padded, mask, true)


def collate_train(items: list[tuple[Video, list[Caption]]], max_frames: int) -> TrainBatch:
    """Join videos and all their captions to a training batch."""
    captions, labels = [], []
    for label, (_, own) in enumerate(items):
        captions += own
        labels += [label] * len(own)
    videos = collate_videos([video for video, _ in items], max_frames)
    return TrainBatch(videos, collate_queries(captions), torch.tensor(labels))
