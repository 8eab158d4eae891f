import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from limits import full_disk
from packed_items import VIDEOS, items, write

from data_modules.dataset import VideoDataset
from data_modules.packed.pack import pack, remove_remains, same_samples
from data_modules.packed.settings import Items, Precision, packed_settings
from data_modules.packed.store import PackedStore
from dreamprvr.core.errors import UserError


def packed(
    data: Items, folder: Path, precision: Precision = "float32"
) -> tuple[PackedStore, dict[str, Any]]:
    settings = packed_settings(data, precision, folder)
    pack(data, folder, settings)
    return PackedStore(folder, settings, verify=True), settings


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_rows_are_those_of_the_items(tmp_path: Path, precision: Precision):
    for number, data in enumerate(items(tmp_path)):
        store, _ = packed(data, tmp_path / f"p{number}", precision)
        for name in ("clips", "frames") if number == 0 else ("words",):
            rows, offsets = store.field(name)
            assert rows.dtype == getattr(torch, precision)
            assert len(rows) == offsets[-1] + 1
            assert not rows[-1].any()
            for item in range(len(data)):
                expected = getattr(data[item], name).numpy().astype(precision)
                found = rows[offsets[item] : offsets[item + 1]].numpy()
                np.testing.assert_array_equal(found, expected)


def test_nothing_else_is_left(tmp_path: Path):
    store, _ = packed(items(tmp_path)[0], tmp_path / "p" / "q")
    names = {
        "manifest.json",
        *(f"{n}.{k}" for n in ("clips", "frames") for k in ("rows", "offsets")),
    }
    assert {path.name for path in store.folder.iterdir()} == names
    assert [path.name for path in (tmp_path / "p").iterdir()] == ["q"]
    assert json.loads((store.folder / "manifest.json").read_text())["settings"] == store.settings


class Stop(VideoDataset):
    """Ctrl-C at the third video."""

    def __getitem__(self, row: int) -> Any:
        if row == 2:
            raise KeyboardInterrupt
        return super().__getitem__(row)


def test_an_interrupt_leaves_what_was_there(tmp_path: Path):
    videos, _ = items(tmp_path)
    _, settings = packed(videos, tmp_path / "p" / "q")
    videos.__class__ = Stop
    with pytest.raises(KeyboardInterrupt):
        pack(videos, tmp_path / "p" / "q", settings)
    with pytest.raises(KeyboardInterrupt):
        pack(videos, tmp_path / "p" / "other", settings)
    assert [path.name for path in (tmp_path / "p").iterdir()] == ["q"]
    PackedStore(tmp_path / "p" / "q", settings, verify=True)


def test_a_missing_item_is_one_line(tmp_path: Path):
    videos, _ = items(tmp_path)
    lengths = {name: 2 for name in VIDEOS if name != "c"}
    videos.store = write(tmp_path / "v.hdf5", lengths, 5)
    with pytest.raises(UserError, match="has no features of 'c'"):
        packed(videos, tmp_path / "p" / "q")
    assert list((tmp_path / "p").iterdir()) == []


def test_a_full_disk_leaves_nothing(tmp_path: Path):
    videos, _ = items(tmp_path)
    with full_disk(50), pytest.raises(OSError, match="File too large"):
        packed(videos, tmp_path / "p" / "q")
    assert list((tmp_path / "p").iterdir()) == []


def test_room_is_asked_for_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[int] = []
    monkeypatch.setattr(
        "data_modules.packed.pack.check_room", lambda folder, needed, doing: asked.append(needed)
    )
    videos, _ = items(tmp_path)
    packed(videos, tmp_path / "p")
    # a has 2 clips and 1 frame of 5 values of 4 bytes, and three videos follow
    assert asked[0] == 3 * 60
    assert asked[-1] == 0
    assert len(asked) == 4


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_samples_tell_other_values(tmp_path: Path, precision: Precision):
    videos, _ = items(tmp_path)
    store, settings = packed(videos, tmp_path / "p", precision)
    assert same_samples(store, videos, settings)
    videos.store = write(tmp_path / "v.hdf5", VIDEOS, 5, seed=1)
    assert not same_samples(store, videos, settings)


def test_remains_of_this_folder_only_are_removed(tmp_path: Path):
    for name in (".a-x1.tmp", ".b-x1.tmp", "a-x1.tmp"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text("")
    remove_remains(tmp_path / "a")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".b-x1.tmp", "a-x1.tmp"]
