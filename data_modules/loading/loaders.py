"""The loaders of one split, from features read item by item or from packed ones.

The order of training batches is made from the seed and the epoch alone, so that it can resume.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler, SequentialSampler

from data_modules.loading.dataset import (
    QueryDataset,
    TrainDataset,
    VideoDataset,
    collate_queries,
    collate_train,
    collate_videos,
)
from data_modules.loading.gather import FieldSource
from data_modules.loading.packed import PackedQueries, PackedTrain, PackedVideos, as_is
from dreamprvr.core.errors import UserError
from dreamprvr.core.stopping import keep_loading

T = TypeVar("T", covariant=True)
AHEAD = 2  # batches that wait or are being gathered while one is used
_END = object()


class AheadLoader(DataLoader[T]):
    """Loader that gathers the next batches in a thread; its arguments are `DataLoader`'s.

    A loading process passes each batch on in fresh shared memory, which costs several times as much
    as gathering it. A thread shares its memory, and gathering does not block the interpreter.
    """

    def __iter__(self) -> Any:
        """Batches in the order of a loader without a thread."""
        return _gather_ahead(super().__iter__())


def _gather_ahead(batches: Iterator[T]) -> Iterator[T]:
    first: Any = next(batches, _END)
    if first is _END:
        return
    with ThreadPoolExecutor(1, thread_name_prefix="gather") as thread:
        coming = deque(thread.submit(next, batches, _END) for _ in range(AHEAD))
        yield first
        while (batch := coming.popleft().result()) is not _END:
            coming.append(thread.submit(next, batches, _END))
            yield batch  # type: ignore[misc]


class EpochOrder(DistributedSampler[Any]):
    """A permutation of the items for each epoch, dealt out to the processes of a run.

    It draws from no shared generator. So neither loading workers nor an interruption change it, and
    several processes together take the items that one process with larger batches takes. The
    trainer tells the epoch through `set_epoch`, as it does with torch's own sampler.

    Args:
        data: the items.
        seed: another seed gives other orders; any integer of 64 bits.
        rank: number of this process.
        ranks: number of processes. Items that cannot be dealt out evenly are left out of an epoch.
    """

    def __init__(self, data: Dataset[Any], seed: int, rank: int = 0, ranks: int = 1) -> None:
        super().__init__(data, num_replicas=ranks, rank=rank, drop_last=True)
        self.seed = seed % 2**64
        self.skipped = (0, 0)  # an epoch, and how many of its items this process has had already

    def __iter__(self) -> Iterator[int]:
        """Numbers of this process's items in the epoch that is set."""
        own = self._every_item()[: self.total_size][self.rank :: self.num_replicas]
        epoch, count = self.skipped
        return iter(own[count if epoch == self.epoch else 0 :].tolist())

    def _every_item(self) -> np.ndarray:
        generator = np.random.default_rng([self.seed, self.epoch])
        return generator.permutation(len(self.dataset))  # type: ignore[arg-type]


class SameOrder(EpochOrder, SequentialSampler):
    """The items in their own order in every epoch, for trainings on the first few batches alone.

    `--trainer.overfit_batches` asks for it. The trainer puts a sampler of its own, which cannot
    resume inside an epoch, in the place of any that is no `SequentialSampler`.
    """

    def _every_item(self) -> np.ndarray:
        return np.arange(len(self.dataset))  # type: ignore[arg-type]


class ResumableLoader(DataLoader[Any]):
    """Gives the batches of an epoch, or those that were left when its state was taken.

    Lightning keeps the state in its checkpoints. The state is that of the batches that were handed
    out, not of those that were loaded ahead.
    """

    _handed_out = (0, 0)  # the epoch of the last pass, and how many of its batches

    def __iter__(self) -> Any:
        """Batches, from where the loaded state ends. The order is made with the first of them."""
        order = self.sampler
        if not isinstance(order, EpochOrder):  # the trainer has put another in its place
            yield from super().__iter__()
            return
        epoch, (skipped_epoch, items) = order.epoch, order.skipped
        done = items // (self.batch_size or 1) if skipped_epoch == epoch else 0
        self._handed_out = epoch, done
        for count, batch in enumerate(super().__iter__(), done + 1):
            self._handed_out = epoch, count
            yield batch

    def state_dict(self) -> dict[str, int]:
        """The seed, the epoch, and how many of its batches were handed out."""
        order, (epoch, batches) = self.sampler, self._handed_out
        return {"seed": getattr(order, "seed", 0), "epoch": epoch, "batches": batches}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on after the batches that were handed out; later epochs are whole."""
        self._handed_out = state["epoch"], state["batches"]
        order = self.sampler
        if isinstance(order, EpochOrder):
            order.seed = state["seed"]
            order.skipped = state["epoch"], state["batches"] * (self.batch_size or 1)


class ResumableAheadLoader(ResumableLoader, AheadLoader[Any]):
    """A `ResumableLoader` whose batches a thread gathers ahead."""


class Share(NamedTuple):
    """The share of a process in a split; all shares have the same size, so items may come twice."""

    processes: int
    rank: int


class SplitLoaders:
    """Makes the loaders of a split; batches are the same from packed features and from files.

    Args:
        videos: the gallery.
        queries: the captions.
        workers: loading processes; for packed features any number stands for one thread.
        packed: packed features of the same videos and captions; None reads item by item.
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
            seed: seed of the order.
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
        """Make the loader of all videos in order, or of a process's share (`Videos`)."""
        if self.packed is not None:
            return self._in_order(self.packed[0], batch_size, as_is, share)
        collate = partial(collate_videos, max_frames=self.videos.sizes.max_frames)
        return self._in_order(self.videos, batch_size, collate, share)

    def captions(self, batch_size: int, share: Share | None = None) -> DataLoader[Any]:
        """Make the loader of all captions in order, or of a process's share (`Queries`)."""
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
        """Make a loader of the first of `kinds`, or of the second, whose thread gathers ahead."""
        options |= {"dataset": data, "batch_size": batch_size, "collate_fn": collate}
        # from pinned memory a batch is copied while the device computes; a resident one is there
        options["pin_memory"] = torch.cuda.is_available() and not self.resident
        # without one, each pass draws from the generator that dropout draws from
        options["generator"] = torch.Generator()
        if self.packed is None:
            options |= {"num_workers": self.workers, "persistent_workers": self.workers > 0}
            options["worker_init_fn"] = keep_loading
        return kinds[self.packed is not None and self.workers > 0](**options)
