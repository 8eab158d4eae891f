"""The loaders of one split, from features read item by item or from packed ones."""

from functools import partial
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from data_modules.loading.ahead import AheadLoader
from data_modules.loading.dataset import (
    QueryDataset,
    TrainDataset,
    VideoDataset,
    collate_queries,
    collate_train,
    collate_videos,
)
from data_modules.loading.gather import FieldSource
from data_modules.loading.order import EpochOrder, ResumableAheadLoader, ResumableLoader, SameOrder
from data_modules.loading.packed import PackedQueries, PackedTrain, PackedVideos, as_is
from dreamprvr.core.errors import UserError
from dreamprvr.core.stopping import keep_loading


class Share(NamedTuple):
    """A process's share of a split: all have as many items, some perhaps twice."""

    processes: int
    rank: int


class SplitLoaders:
    """Makes the loaders of a split; the batches are the same in either way.

    Args:
        videos: the gallery.
        queries: the captions.
        workers: loading processes; for packed features any number stands for one thread.
        packed: the same videos and captions, packed; None reads item by item.
        resident: whether packed features lie on the device that trains.
    """

    def __init__(
        self,
        videos: VideoDataset,
        queries: QueryDataset,
        workers: int,
        packed: tuple[FieldSource, FieldSource] | None = None,
        resident: bool = False,
    ) -> None:
        self.videos = videos
        self.queries = queries
        self.workers = workers
        self.resident = resident
        self.packed: tuple[PackedVideos, PackedQueries] | None = None
        if packed is not None:
            gallery = PackedVideos(packed[0], videos.sizes.max_frames)
            self.packed = gallery, PackedQueries(packed[1], queries)

    def train(
        self, batch_size: int, seed: int, rank: int = 0, ranks: int = 1, shuffle: bool = True
    ) -> DataLoader[Any]:
        """Make the loader of videos with all their captions (`TrainBatch`).

        Args:
            batch_size: videos of a batch, on each process.
            seed: of the order.
            rank: number of this process.
            ranks: number of processes. Of several, all take as many steps with full batches.
            shuffle: whether each epoch has an order of its own; else the videos come as they stand.

        Raises:
            UserError: a process has fewer videos than a batch takes.
        """
        items = TrainDataset(self.videos, self.queries)
        if ranks > 1 and len(items) // ranks < batch_size:
            raise UserError(
                f"data.batch_size is {batch_size} on each of {ranks} processes, but there are only "
                f"{len(items)} training videos, {len(items) // ranks} for each: give --data."
                f"batch_size {len(items) // ranks or 1} or less, or fewer processes"
            )
        data: Dataset[Any] = items
        collate: Any = partial(collate_train, max_frames=self.videos.sizes.max_frames)
        if self.packed is not None:
            data, collate = PackedTrain(*self.packed, items), as_is
        order = (EpochOrder if shuffle else SameOrder)(data, seed, rank, ranks)
        kinds = (ResumableLoader, ResumableAheadLoader)
        return self._loader(data, batch_size, collate, kinds, sampler=order, drop_last=ranks > 1)

    def gallery(self, batch_size: int, share: Share | None = None) -> DataLoader[Any]:
        """All videos in order, or a process's share of them (`Videos`)."""
        if self.packed is not None:
            return self._in_order(self.packed[0], batch_size, as_is, share)
        collate = partial(collate_videos, max_frames=self.videos.sizes.max_frames)
        return self._in_order(self.videos, batch_size, collate, share)

    def captions(self, batch_size: int, share: Share | None = None) -> DataLoader[Any]:
        """All captions in order, or a process's share of them (`Queries`)."""
        if self.packed is not None:
            return self._in_order(self.packed[1], batch_size, as_is, share)
        return self._in_order(self.queries, batch_size, collate_queries, share)

    def _in_order(
        self, data: Dataset[Any], batch_size: int, collate: Any, share: Share | None
    ) -> DataLoader[Any]:
        if share is None:
            return self._loader(data, batch_size, collate)
        sampler = DistributedSampler[Any](data, *share, shuffle=False)
        return self._loader(data, batch_size, collate, sampler=sampler)

    def _loader(
        self,
        data: Dataset[Any],
        batch_size: int,
        collate: Any,
        kinds: tuple[type[DataLoader[Any]], type[DataLoader[Any]]] = (DataLoader, AheadLoader),
        **options: Any,
    ) -> DataLoader[Any]:
        """A loader of the first of `kinds`, or of the second, which gathers ahead by a thread."""
        options |= {"dataset": data, "batch_size": batch_size, "collate_fn": collate}
        # from pinned memory a batch is copied while the device computes; a resident one is there
        options["pin_memory"] = torch.cuda.is_available() and not self.resident
        # without one, each pass draws from the generator that dropout draws from
        options["generator"] = torch.Generator()
        if self.packed is None:
            options |= {"num_workers": self.workers, "persistent_workers": self.workers > 0}
            options["worker_init_fn"] = keep_loading
        return kinds[self.packed is not None and self.workers > 0](**options)
