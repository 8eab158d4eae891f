"""Packed features as data sets that give a whole batch at once, on the CPU or on a device.

`torch.utils.data` calls `__getitems__` with the rows of a batch; there is nothing left to collate.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from lightning import Trainer
from torch.utils.data import Dataset

from data_modules.loading.dataset import QueryDataset, TrainDataset, VideoDataset
from data_modules.loading.gather import (
    Buffers,
    Field,
    FieldSource,
    flatten,
    gather_queries,
    gather_videos,
    joined,
    on_device,
)
from data_modules.loading.packed_store import PackedStore, Precision
from data_modules.loading.packing import Packing
from dreamprvr.core.batch import Queries, TrainBatch, Videos
from dreamprvr.core.errors import UserError

T = TypeVar("T")


def as_is(batch: T) -> T:
    """Return a batch that is complete already: the collate function of packed data."""
    return batch


class PackedVideos(Dataset[Videos]):
    """The gallery of a split.

    Args:
        source: packed videos of the split.
        max_frames: length that frames are padded to.
    """

    def __init__(self, source: FieldSource, max_frames: int) -> None:
        self.source = source
        self.max_frames = max_frames
        self._buffers = Buffers()

    def __len__(self) -> int:
        return len(self.source.field("clips").offsets) - 1

    def __getitems__(self, rows: Sequence[int] | np.ndarray) -> Videos:
        """Gather the batch of these rows."""
        return gather_videos(self.source, _array(rows), self.max_frames, self._buffers)

    def __getitem__(self, row: int) -> Videos:
        """Gather a batch of one."""
        return self.__getitems__([row])


class PackedQueries(Dataset[Queries]):
    """The captions of a split.

    Args:
        source: packed captions of the split.
        queries: the same captions, which name their true videos.
    """

    def __init__(self, source: FieldSource, queries: QueryDataset) -> None:
        self.source = source
        true, self._offsets = flatten([rows.tolist() for rows in queries.positives])
        self._true = np.append(true, -1)
        self._buffers = Buffers()

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitems__(self, rows: Sequence[int] | np.ndarray) -> Queries:
        """Gather the batch of these rows."""
        return gather_queries(self.source, _array(rows), self._true, self._offsets, self._buffers)

    def __getitem__(self, row: int) -> Queries:
        """Gather a batch of one."""
        return self.__getitems__([row])


class PackedTrain(Dataset[TrainBatch]):
    """The captioned videos of a split, each with all its captions.

    Args:
        videos: the packed gallery.
        queries: the packed captions.
        items: the same videos and captions, which say what belongs together.
    """

    def __init__(self, videos: PackedVideos, queries: PackedQueries, items: TrainDataset) -> None:
        self.videos = videos
        self.queries = queries
        self._rows = np.array([video for video, _ in items.captions])
        self._captions, self._offsets = flatten([rows for _, rows in items.captions])

    def __len__(self) -> int:
        return len(self._rows)

    def __getitems__(self, items: Sequence[int] | np.ndarray) -> TrainBatch:
        """Gather the batch of these items."""
        numbers = _array(items)
        places, labels = joined(self._offsets, numbers)
        videos = self.videos.__getitems__(self._rows[numbers])
        queries = self.queries.__getitems__(self._captions[places])
        return TrainBatch(videos, queries, on_device(torch.from_numpy(labels), videos.row.device))

    def __getitem__(self, item: int) -> TrainBatch:
        """Gather a batch of one."""
        return self.__getitems__([item])


def _array(rows: Sequence[int] | np.ndarray) -> np.ndarray:
    return np.asarray(rows, dtype=np.int64)


class Resident:
    """A packed store whose rows are on a device; offsets stay on the CPU.

    Args:
        store: packed store, which is copied when its fields are first asked for.
        device: device to copy to; on the CPU nothing is copied, as the store is memory already.
    """

    def __init__(self, store: PackedStore, device: torch.device) -> None:
        self.store = store
        self.device = device
        self._fields: dict[str, Field] = {}

    def field(self, name: str) -> Field:
        """Return a field whose rows are on the device."""
        if name not in self._fields:
            rows, offsets = self.store.field(name)
            self._fields[name] = Field(rows.to(self.device), offsets)
        return self._fields[name]

    def free(self) -> None:
        """Free the device's memory; the next use copies the rows again."""
        self._fields.clear()


def _check_memory(needed: int, device: torch.device) -> None:
    if device.type != "cuda":
        return
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    free = torch.cuda.mem_get_info(device)[0] + cached
    if needed > free:
        raise UserError(
            f"data.device_resident: the packed features take {needed / 1e9:.1f} GB, but "
            f"{free / 1e9:.1f} GB are free on {device}: pack them as float16 (--data.packed "
            "float16), or leave out --data.device_resident"
        )


SplitData = tuple[VideoDataset, QueryDataset]


class PackedFeatures:
    """The packed features of a data module: the stores that a run opens, and their device.

    Args:
        folder: folder of the stores.
        precision: type in which values are stored.
        resident: keep the features on the device that computes.
    """

    def __init__(self, folder: Path, precision: Precision, resident: bool) -> None:
        self.resident = resident
        self._packing = Packing(folder, precision)
        self._residents: dict[Path, Resident] = {}

    def stores(self, data: SplitData, trainer: Trainer | None) -> tuple[PackedStore, PackedStore]:
        """Return the packed videos and captions of a split, which are made unless they are there.

        Raises:
            UserError: they cannot be made.
        """
        # the first process of this machine has checked what it packed or found
        checked = trainer is not None and trainer.local_rank > 0
        return self._packing.store(data[0], checked), self._packing.store(data[1], checked)

    def sources(
        self, data: SplitData, run: Iterable[SplitData], trainer: Trainer | None
    ) -> tuple[FieldSource, FieldSource]:
        """Return the packed features that the batches of a split are gathered from.

        Args:
            data: the split.
            run: all splits of the run, which must fit on the device together.
            trainer: trainer that knows the device; without one it is the CPU.

        Raises:
            UserError: the features cannot be packed, or do not fit.
        """
        stores = self.stores(data, trainer)
        if not self.resident:
            return stores
        every, device = list(stores), torch.device("cpu")
        if trainer is not None:
            every += [store for split in run for store in self.stores(split, trainer)]
            device = trainer.strategy.root_device
        videos, queries, *_ = self.place(every, device)
        return videos, queries

    def place(self, stores: Sequence[PackedStore], device: torch.device) -> list[Resident]:
        """Put stores on a device, except those that are there already.

        Raises:
            UserError: they do not all fit together; this is found before any is copied.
        """
        placed = {path: (one.store, one.device) for path, one in self._residents.items()}
        new = {s.folder: s for s in stores if placed.get(s.folder) != (s, device)}
        _check_memory(sum(store.bytes for store in new.values()), device)
        self._residents |= {path: Resident(store, device) for path, store in new.items()}
        return [self._residents[store.folder] for store in stores]

    def free(self) -> None:
        """Free the device's memory."""
        for resident in self._residents.values():
            resident.free()
        self._residents.clear()
