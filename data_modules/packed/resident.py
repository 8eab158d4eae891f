"""Packed features on the device that computes, for batches that are gathered there."""

from collections.abc import Iterable
from pathlib import Path

import torch

from data_modules.packed.gather import Field
from data_modules.packed.store import PackedStore
from dreamprvr.core.errors import UserError


class Resident:
    """A packed store whose rows are on a device; offsets stay on the CPU.

    Args:
        store: is copied when its fields are first asked for.
        device: on the CPU nothing is copied: the store is memory already.
    """

    def __init__(self, store: PackedStore, device: torch.device) -> None:
        self.store = store
        self.device = device
        self._fields: dict[str, Field] = {}

    def field(self, name: str) -> Field:
        """A field, its rows on the device."""
        if name not in self._fields:
            rows, offsets = self.store.field(name)
            self._fields[name] = Field(rows.to(self.device), offsets)
        return self._fields[name]

    def free(self) -> None:
        """Let the device's memory go; the next use copies anew."""
        self._fields.clear()


class Residents:
    """The packed stores of a run on their device, each once."""

    def __init__(self) -> None:
        self._open: dict[Path, Resident] = {}

    def place(self, stores: Iterable[PackedStore], device: torch.device) -> list[Resident]:
        """Put stores on a device, those that are there already left as they are.

        Raises:
            UserError: they do not fit, all of them together; found out before any is copied.
        """
        stores = list(stores)
        new = {s.folder: s for s in stores if not self._has(s, device)}
        _check_memory(sum(store.bytes for store in new.values()), device)
        self._open.update({path: Resident(store, device) for path, store in new.items()})
        return [self._open[store.folder] for store in stores]

    def _has(self, store: PackedStore, device: torch.device) -> bool:
        resident = self._open.get(store.folder)
        return resident is not None and (resident.store, resident.device) == (store, device)

    def free(self) -> None:
        """Let the device's memory go."""
        for resident in self._open.values():
            resident.free()
        self._open.clear()


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
