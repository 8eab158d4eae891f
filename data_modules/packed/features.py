"""The packed features of a data module: which stores a run opens, and on which device they lie."""

from collections.abc import Iterable
from pathlib import Path

import torch
from lightning import Trainer

from data_modules.dataset import QueryDataset, VideoDataset
from data_modules.packed.gather import FieldSource
from data_modules.packed.packing import Packing
from data_modules.packed.resident import Residents
from data_modules.packed.settings import Precision
from data_modules.packed.store import PackedStore

SplitData = tuple[VideoDataset, QueryDataset]


class PackedFeatures:
    """Gives what the batches of a split are gathered from.

    Args:
        folder: holds the stores.
        precision: how values are stored.
        resident: keep them on the device that computes.
    """

    def __init__(self, folder: Path, precision: Precision, resident: bool) -> None:
        self.resident = resident
        self._packing = Packing(folder, precision)
        self._residents = Residents()

    def stores(self, data: SplitData, trainer: Trainer | None) -> tuple[PackedStore, PackedStore]:
        """The packed videos and captions of a split, made unless they are there.

        Raises:
            UserError: they cannot be made.
        """
        # the first process of this machine has checked what it packed or found
        checked = trainer is not None and trainer.local_rank > 0
        return self._packing.store(data[0], checked), self._packing.store(data[1], checked)

    def sources(
        self, data: SplitData, run: Iterable[SplitData], trainer: Trainer | None
    ) -> tuple[FieldSource, FieldSource]:
        """What the batches of a split are gathered from.

        Args:
            data: the split.
            run: all splits of the run, which are to fit on the device together.
            trainer: knows the device; without one it is the CPU.

        Raises:
            UserError: the features cannot be packed, or do not fit.
        """
        stores = self.stores(data, trainer)
        if not self.resident:
            return stores
        if trainer is None:
            videos, queries = self._residents.place(stores, torch.device("cpu"))
            return videos, queries
        every = [store for split in run for store in self.stores(split, trainer)]
        placed = self._residents.place([*stores, *every], trainer.strategy.root_device)
        return placed[0], placed[1]

    def free(self) -> None:
        """Let the device's memory go."""
        self._residents.free()
