"""The order of training batches: made from the seed and the epoch alone, so that it can resume."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset, SequentialSampler
from torch.utils.data.distributed import DistributedSampler

from data_modules.loading.ahead import AheadLoader


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


class SameOrder(EpochOrder, SequentialSampler):  # type: ignore[misc]
    """The items as they stand, in every epoch, for trainings on the first few batches alone.

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
    """The same, gathered ahead by a thread."""
