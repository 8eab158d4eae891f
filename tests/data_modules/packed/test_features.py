from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from packed_items import items, tables

from data_modules.packed import resident
from data_modules.packed.features import PackedFeatures
from data_modules.packed.resident import Resident
from data_modules.packed.store import PackedStore
from dreamprvr.core.errors import UserError


def trainer(local_rank: int = 0, device: str = "cpu") -> Any:
    strategy = SimpleNamespace(root_device=torch.device(device))
    return SimpleNamespace(local_rank=local_rank, strategy=strategy)


def test_stores_are_the_sources(tmp_path: Path):
    features = PackedFeatures(tmp_path / "packed", "float16", resident=False)
    sources = features.sources(items(tmp_path), [], trainer(device="meta"))
    assert sources == features.stores(items(tmp_path), None)
    assert sources[0].field("clips").rows.dtype == torch.float16
    assert sources[1].field("words").rows.device.type == "cpu"


@pytest.mark.parametrize(("boss", "device"), [(None, "cpu"), (trainer(device="meta"), "meta")])
def test_the_trainer_knows_the_device(tmp_path: Path, boss: Any, device: str):
    features = PackedFeatures(tmp_path / "packed", "float32", resident=True)
    data = items(tmp_path)
    videos, captions = features.sources(data, [data], boss)
    assert isinstance(videos, Resident)
    assert videos.field("clips").rows.device.type == device
    assert captions.field("words").rows.device.type == device
    features.free()
    assert features.sources(data, [data], boss)[0] is not videos


def test_all_splits_of_a_run_must_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[int] = []

    def check(needed: int, device: torch.device) -> None:
        asked.append(needed)
        if needed:
            raise UserError("too large")

    monkeypatch.setattr(resident, "_check_memory", check)
    features = PackedFeatures(tmp_path / "packed", "float32", resident=True)
    both = [items(tmp_path), items(tmp_path, tables(videos=3, captions=1))]
    with pytest.raises(UserError, match="too large"):
        features.sources(both[1], both, trainer())
    stores = [store for data in both for store in features.stores(data, None)]
    assert len({store.folder for store in stores}) == 4
    assert asked == [sum(store.bytes for store in stores)]


def test_only_the_first_process_of_a_machine_checks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    data = items(tmp_path)
    PackedFeatures(tmp_path / "packed", "float32", False).stores(data, trainer())
    verified: list[bool] = []
    inner = PackedStore.__init__

    def note(self: PackedStore, folder: Path, settings: Any, verify: bool) -> None:
        verified.append(verify)
        inner(self, folder, settings, verify)

    monkeypatch.setattr(PackedStore, "__init__", note)
    for rank in (0, 1):
        PackedFeatures(tmp_path / "packed", "float32", False).stores(data, trainer(rank))
    PackedFeatures(tmp_path / "packed", "float32", False).stores(data, None)
    assert verified == [True, True, False, False, True, True]
