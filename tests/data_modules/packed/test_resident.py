from pathlib import Path

import pytest
import torch
from packed_items import items

from data_modules.packed.packing import Packing
from data_modules.packed.resident import Resident, Residents
from data_modules.packed.store import PackedStore
from dreamprvr.core.errors import UserError

CPU = torch.device("cpu")


@pytest.fixture
def stores(tmp_path: Path) -> list[PackedStore]:
    packing = Packing(tmp_path / "packed", "float32")
    return [packing.store(data) for data in items(tmp_path)]


def test_on_the_cpu_nothing_is_copied(stores: list[PackedStore]):
    here = Resident(stores[0], CPU).field("frames")
    assert here.rows.data_ptr() == stores[0].field("frames").rows.data_ptr()
    assert here.offsets is stores[0].field("frames").offsets


def test_copied_once_to_another_device(stores: list[PackedStore]):
    resident = Resident(stores[0], torch.device("meta"))
    rows = resident.field("frames").rows
    assert rows.device.type == "meta"
    assert resident.field("frames").rows is rows
    resident.free()
    assert resident.field("frames").rows is not rows


def test_each_store_is_there_once(stores: list[PackedStore]):
    residents = Residents()
    first, second, again = residents.place([*stores, stores[0]], CPU)
    assert first is again
    assert residents.place(stores[::-1], CPU) == [second, first]
    assert residents.place(stores[:1], torch.device("meta"))[0] is not first
    residents.free()
    assert residents.place(stores, CPU)[0] is not first


def test_what_does_not_fit_is_one_line(stores: list[PackedStore], monkeypatch: pytest.MonkeyPatch):
    gpu = torch.device("cuda:1")
    needed = stores[0].bytes + stores[1].bytes
    free = {"bytes": needed - 11}
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 30)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 20)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free["bytes"], 0))
    residents = Residents()
    with pytest.raises(UserError, match=r"take 0\.0 GB, but 0\.0 GB are free on cuda:1: pack them"):
        residents.place([*stores, *stores], gpu)
    free["bytes"] += 1
    residents.place([*stores, *stores], gpu)
    free["bytes"] = 0
    residents.place(stores, gpu)  # they are there already
