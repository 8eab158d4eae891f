import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from limits import full_disk
from packed_items import VIDEOS, items, write

import data_modules
from data_modules.loading import packed_store, packing
from data_modules.loading.dataset import VideoDataset
from data_modules.loading.packed_store import Items, PackedStore, Precision, packed_settings
from data_modules.loading.packing import Packing, pack, remove_remains, same_samples
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


def test_free_disk_is_checked_while_packing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[int] = []
    monkeypatch.setattr(
        "data_modules.loading.packing.check_free_disk",
        lambda folder, needed, doing: asked.append(needed),
    )
    videos, _ = items(tmp_path)
    packed(videos, tmp_path / "p")
    # a has 2 clips and 1 frame of 5 values of 4 bytes, and three videos follow
    assert asked[0] == 3 * 60
    assert asked[-1] == 0
    assert len(asked) == 4


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_sample_finds_other_values(tmp_path: Path, precision: Precision):
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


@pytest.fixture
def packs(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every folder that is packed."""
    found: list[Path] = []

    def note(data: Any, folder: Path, settings: Any) -> None:
        found.append(folder)
        pack(data, folder, settings)

    monkeypatch.setattr(packing, "pack", note)
    return found


def opened(folder: Path) -> Packing:
    return Packing(folder / "packed", "float32")


def test_packed_once_and_then_found(tmp_path: Path, packs: list[Path]):
    videos, captions = items(tmp_path)
    first = opened(tmp_path)
    store = first.store(videos)
    assert first.store(videos) is store
    assert opened(tmp_path).store(videos).folder == store.folder
    assert packs == [store.folder]
    first.store(captions)
    assert len(packs) == 2
    visible = sorted(path.name for path in (tmp_path / "packed").iterdir())
    assert visible == sorted([".lock", *(path.name for path in packs)])


def test_a_changed_source_is_packed_again(
    tmp_path: Path, packs: list[Path], capsys: pytest.CaptureFixture[str]
):
    videos, _ = items(tmp_path)
    packs_before = opened(tmp_path)
    old = packs_before.store(videos).field("frames").rows.clone()
    videos.store = write(tmp_path / "v.hdf5", VIDEOS, 5, seed=1)
    for finder in (opened(tmp_path), packs_before):  # in a new run, and in the same one
        assert not finder.store(videos).field("frames").rows.equal(old)
    assert len(packs) == 2
    assert packs[0] == packs[1]
    assert "was packed from other files or with other settings: packing again" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize("change", ["told", "untold"])
def test_a_source_that_was_replaced_with_its_old_time(
    tmp_path: Path, packs: list[Path], capsys: pytest.CaptureFixture[str], change: str,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    """As by rsync -a. A file system without times of change leaves a sample of the values."""
    if change == "untold":
        monkeypatch.setattr(packed_store, "_state", lambda path: [path.stat().st_size])
    videos, _ = items(tmp_path)
    opened(tmp_path).store(videos)
    before = (tmp_path / "v.hdf5").stat()
    videos.store = write(tmp_path / "v.hdf5", VIDEOS, 5, seed=1)
    os.utime(tmp_path / "v.hdf5", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (tmp_path / "v.hdf5").stat().st_size == before.st_size
    opened(tmp_path).store(videos)
    assert len(packs) == 2
    reason = {"told": "was packed from other files", "untold": "differs from the features that"}
    assert reason[change] in capsys.readouterr().out


@pytest.mark.parametrize("name", ["frames.rows", "clips.offsets", "manifest.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_damage_is_never_used(
    tmp_path: Path, packs: list[Path], name: str, damage: str, capsys: pytest.CaptureFixture[str]
):
    videos, _ = items(tmp_path)
    store = opened(tmp_path).store(videos)
    expected = store.field("frames").rows.clone()
    path = store.folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    if damage != "gone":
        path.write_bytes(content if damage == "flip" else content[:-3])
    assert opened(tmp_path).store(videos).field("frames").rows.equal(expected)
    assert len(packs) == 2
    assert "packing again" in capsys.readouterr().out


def test_another_version_is_packed_again(
    tmp_path: Path, packs: list[Path], monkeypatch: pytest.MonkeyPatch
):
    videos, _ = items(tmp_path)
    opened(tmp_path).store(videos)
    monkeypatch.setattr(packed_store, "FORMAT", 99)
    opened(tmp_path).store(videos)
    assert len(packs) == 2


def test_a_store_that_another_process_checked_is_only_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    videos, _ = items(tmp_path)
    opened(tmp_path).store(videos)

    def refuse(*_: Any) -> bool:
        raise AssertionError("it is compared twice")

    monkeypatch.setattr(packing, "same_samples", refuse)
    opened(tmp_path).store(videos, checked=True)
    with pytest.raises(AssertionError):
        opened(tmp_path).store(videos)


def test_remains_of_a_killed_process_are_removed(tmp_path: Path):
    videos, _ = items(tmp_path)
    name = opened(tmp_path / "other").store(videos).folder.name
    remains = tmp_path / "packed" / f".{name}-abc.tmp"
    remains.mkdir(parents=True)
    opened(tmp_path).store(videos)
    assert not remains.exists()


def test_a_full_disk_is_one_line(tmp_path: Path):
    videos, _ = items(tmp_path)
    with full_disk(50), pytest.raises(UserError) as caught:
        opened(tmp_path).store(videos)
    assert str(caught.value) == (
        f"{tmp_path / 'packed'}: no room on the disk for packed features: make room, name another "
        "folder with --data.packed_folder, or leave out --data.packed"
    )
    assert [path.name for path in (tmp_path / "packed").iterdir()] == [".lock"]


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path):
    videos, _ = items(tmp_path)
    (tmp_path / "packed").write_text("a file")
    with pytest.raises(UserError, match=r"packed cannot be written \(File exists\): name another"):
        opened(tmp_path).store(videos)


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_read_only_root(tmp_path: Path):
    videos, _ = items(tmp_path)
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(UserError, match=r"cannot be written \(Permission denied\)"):
            opened(tmp_path).store(videos)
    finally:
        tmp_path.chmod(0o700)


def test_a_store_that_reads_back_wrongly_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    videos, _ = items(tmp_path)
    monkeypatch.setattr(packing, "same_samples", lambda *_: False)
    with pytest.raises(UserError, match="just after packing: the disk may be faulty"):
        opened(tmp_path).store(videos)


PACK = """
import sys, time
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from packed_items import VIDEOS, SIZES, tables
from data_modules.loading.dataset import VideoDataset
from data_modules.readers.hdf5 import Hdf5Features
from data_modules.loading import packing
inner = packing.pack
def slow(*arguments):
    print("packs", flush=True)
    time.sleep(1)
    inner(*arguments)
packing.pack = slow
folder = Path(sys.argv[1])
videos = VideoDataset(tables(), Hdf5Features(folder / "v.hdf5"), SIZES)
packing.Packing(folder / "packed", "float32").store(videos)
print("done", flush=True)
"""


def start(folder: Path) -> "subprocess.Popen[str]":
    root = Path(data_modules.__file__).parents[1]
    paths = [str(root), str(root / "src"), str(root / "tests")]
    command = [sys.executable, "-c", PACK, str(folder), *paths]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_of_several_processes_one_packs(tmp_path: Path):
    items(tmp_path)
    with start(tmp_path) as one, start(tmp_path) as two:
        said = [process.communicate(timeout=120)[0] for process in (one, two)]
    assert "".join(said).count("packs\n") == 1
    assert all(text.endswith("done\n") for text in said)


def test_a_killed_process_leaves_no_store(tmp_path: Path):
    videos, _ = items(tmp_path)
    with start(tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "packs\n"
        process.kill()
    assert [path.name for path in (tmp_path / "packed").iterdir()] == [".lock"]
    opened(tmp_path).store(videos)
