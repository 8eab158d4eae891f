"""Packed features as data sets that give a whole batch at once.

`torch.utils.data` calls `__getitems__` with the rows of a batch; there is nothing left to collate.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from torch.utils.data import Dataset

from data_modules.dataset import QueryDataset, TrainDataset
from data_modules.packed.buffers import Buffers
from data_modules.packed.gather import FieldSource, gather_queries, gather_videos, on_device
from data_modules.packed.ragged import flatten, joined
from dreamprvr.core.batch import Queries, TrainBatch, Videos

T = TypeVar("T")


def as_is(batch: T) -> T:
    """The collate function of batches that are complete."""
    return batch


class PackedVideos(Dataset[Videos]):
    """The gallery of a split.

    Args:
        source: its packed videos.
        max_frames: length that frames are padded to.
    """

    def __init__(self, source: FieldSource, max_frames: int) -> None:
        self.source = source
        self.max_frames = max_frames
        self._buffers = Buffers()

    def __len__(self) -> int:
        return len(self.source.field("clips").offsets) - 1

    def __getitems__(self, rows: Sequence[int] | np.ndarray) -> Videos:
        """The batch of these rows."""
        return gather_videos(self.source, _array(rows), self.max_frames, self._buffers)

    def __getitem__(self, row: int) -> Videos:
        """A batch of one."""
        return self.__getitems__([row])


class PackedQueries(Dataset[Queries]):
    """The captions of a split.

    Args:
        source: its packed captions.
        queries: the same captions, for their true videos.
    """

    def __init__(self, source: FieldSource, queries: QueryDataset) -> None:
        self.source = source
        true, self._offsets = flatten([rows.tolist() for rows in queries.positives])
        self._true = np.append(true, -1)
        self._buffers = Buffers()

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitems__(self, rows: Sequence[int] | np.ndarray) -> Queries:
        """The batch of these rows."""
        return gather_queries(self.source, _array(rows), self._true, self._offsets, self._buffers)

    def __getitem__(self, row: int) -> Queries:
        """A batch of one."""
        return self.__getitems__([row])


class PackedTrain(Dataset[TrainBatch]):
    """The captioned videos of a split, each with all its captions.

    Args:
        videos: the packed gallery.
        queries: the packed captions.
        items: the same videos and captions, for what belongs together.
    """

    def __init__(self, videos: PackedVideos, queries: PackedQueries, items: TrainDataset) -> None:
        self.videos = videos
        self.queries = queries
        self._rows = np.array([video for video, _ in items.captions])
        self._captions, self._offsets = flatten([rows for _, rows in items.captions])

    def __len__(self) -> int:
        return len(self._rows)

    def __getitems__(self, items: Sequence[int] | np.ndarray) -> TrainBatch:
        """The batch of these items."""
        numbers = _array(items)
        places, labels = joined(self._offsets, numbers)
        videos = self.videos.__getitems__(self._rows[numbers])
        queries = self.queries.__getitems__(self._captions[places])
        return TrainBatch(videos, queries, on_device(torch.from_numpy(labels), videos.row.device))

    def __getitem__(self, item: int) -> TrainBatch:
        """A batch of one."""
        return self.__getitems__([item])


def _array(rows: Sequence[int] | np.ndarray) -> np.ndarray:
    return np.asarray(rows, dtype=np.int64)
