"""Folders of strangers: links that are prepared in them change nothing outside of them."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from bigfiles import write_big_file
from packed_items import items
from search.checkpoints import checkpoint
from search.libraries import SETTINGS, features, video
from simulating import run as simulate

from data_modules.loading.packing import Packing
from data_modules.readers.convert import convert_big_file
from dreamprvr.cli.runs import MetricsFile, RunFolder, write_config
from dreamprvr.core.errors import UserError
from dreamprvr.evaluation.record import KEY, add_entry
from dreamprvr.extraction.output import FeatureOutput, Output
from dreamprvr.search import rows
from dreamprvr.search.library import Library
from dreamprvr.serve.cache import CacheFolder
from dreamprvr.serve.keeper import Keeper
from dreamprvr.training.callbacks.checkpoints import AtomicCheckpointIO

PID = os.getpid()
DIGEST = "0" * 32
# names that programs of ours delete, where they are theirs
BAIT = (
    "kept", f"{DIGEST}.f16", f".{DIGEST}.f16.999999999.partial", "999999999-1", "000001.hdf5",
    f"{DIGEST}.hdf5", "joined", f"{'0' * 40}.jpg", f".{'0' * 40}.jpg.999999999.partial",
    "last.ckpt", "metrics.csv", ".lock",
)  # fmt: skip


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A folder of somebody's; in the end it holds what it held, untouched."""
    folder = tmp_path / "outside"
    (folder / "deep").mkdir(parents=True)
    for name in BAIT:
        for place in (folder, folder / "deep"):
            (place / name).write_text("of somebody else")
            os.utime(place / name, ns=(10**9, 10**9))
    before = state(folder)
    yield folder
    assert state(folder) == before


def state(folder: Path) -> dict[str, object]:
    """Names, contents, kinds and times of change of all that is in a folder."""
    found: dict[str, object] = {".": folder.stat().st_mtime_ns}
    for path in folder.rglob("*"):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else None
        found[str(path)] = (content, status.st_mode, status.st_mtime_ns)
    return found


def folder_link(path: Path, outside: Path) -> None:
    remove(path)
    path.symlink_to(outside)


def file_link(path: Path, outside: Path) -> None:
    remove(path)
    path.symlink_to(outside / "kept")


def dangling_link(path: Path, outside: Path) -> None:
    remove(path)
    path.symlink_to(outside / "new")


def hard_link(path: Path, outside: Path) -> None:
    remove(path)
    os.link(outside / "kept", path)


def remove(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


Trap = Callable[[Path, Path], None]
FILE_TRAPS = (file_link, dangling_link, hard_link)
LIBRARY_FOLDERS = (
    "rows", "engine-1", "engine-1/segments", "engine", "engine-2", "engine-2/segments",
    ".engine.partial",
)  # fmt: skip
LIBRARY_FILES = (
    "library.json", "model.ckpt", "progress.json", ".writer", ".server",
    "engine-1/interrupted.npz", "engine-1/edge_config.json", "engine-1/.lock", "engine/.lock",
    "engine-2/edge_config.json",
)  # fmt: skip
PASSED_OVER = (  # these do no harm, so the library can be used
    f"rows/{DIGEST}.f16", f"rows/.{DIGEST}.f16.PID.partial",
    f"rows/.{DIGEST}.f16.999999999.partial", ".library.json.PID.partial",
    ".progress.json.PID.partial", ".progress.json.999999999.partial",
)  # fmt: skip
LIBRARY_TRAPS = [(name, folder_link) for name in LIBRARY_FOLDERS] + [
    (name, trap) for name in LIBRARY_FILES for trap in FILE_TRAPS
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with a trained model, and what it was made of; each test copies it."""
    folder = tmp_path_factory.mktemp("whole")
    made = features(folder / "features.hdf5", [video("a", dog=3), video("b", cat=4)])
    (folder / "videos.csv").write_text("video_id,place\na,Bonn\n")
    patch = pytest.MonkeyPatch()
    patch.setattr(rows, "LONG", 0)  # so that there are files of rows
    with Library.create(folder / "library", made, checkpoint(folder / "a.ckpt")) as library:
        library.update(made)
    patch.undo()
    assert (folder / "library" / "engine-1" / "edge_config.json").exists()
    assert (folder / "library" / "engine-1" / "segments").is_dir()
    assert list((folder / "library" / "rows").iterdir())
    return folder


def copy(source: Path, target: Path) -> None:
    """Copy a library with the holes in its files, which are far larger than their contents."""
    subprocess.run(["cp", "-a", "--sparse=always", source, target], check=True)


def create(folder: Path, made: Path) -> None:
    """Make a new library where the manifest is missing, as `index` does."""
    (folder / "library.json").unlink(missing_ok=True)
    Library.create(folder, made / "features.hdf5", made / "a.ckpt").close()


def serve(folder: Path, made: Path) -> None:
    """Open a library as the page does."""
    keeper = Keeper(folder, lambda path: Library.open(path, "cpu"))
    keeper.state()
    keeper.tend()
    keeper.close()


def with_library(do: Callable[[Library, Path], object]) -> Callable[[Path, Path], None]:
    def action(folder: Path, made: Path) -> None:
        with Library.open(folder, "cpu") as library:
            do(library, made)

    return action


ACTIONS = {
    "serve": serve,
    "index": with_library(lambda library, made: library.update(made / "features.hdf5")),
    "prune": with_library(lambda library, made: library.update(made / "features.hdf5", prune=True)),
    "describe": with_library(lambda library, made: library.set_metadata(made / "videos.csv")),
    "delete": with_library(lambda library, made: library.delete(["a"])),
    "compact": with_library(lambda library, made: library.compact()),
    "list": with_library(lambda library, made: library.videos()),
    "search": with_library(lambda library, made: library.search("dog")),
    "create": create,
}


@pytest.mark.parametrize(
    ("name", "trap"), LIBRARY_TRAPS, ids=[f"{n}-{t.__name__}" for n, t in LIBRARY_TRAPS]
)
def test_traps_in_a_library_change_nothing_outside(
    name: str, trap: Trap, tmp_path: Path, outside: Path, whole: Path
) -> None:
    before = state(outside)
    copy(whole / "library", tmp_path / "library")
    for action in ACTIONS.values():
        trap(tmp_path / "library" / name, outside)
        with suppress(UserError):
            action(tmp_path / "library", whole)
        assert state(outside) == before


@pytest.mark.parametrize("trap", FILE_TRAPS)
def test_prepared_names_in_a_library(
    trap: Trap, tmp_path: Path, outside: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "LONG", 0)
    before = state(outside)
    copy(whole / "library", tmp_path / "library")
    for action in ACTIONS.values():
        for name in PASSED_OVER:
            trap(tmp_path / "library" / name.replace("PID", str(PID)), outside)
        if action is create:  # the engine's journal is opened by what writes
            trap(tmp_path / "library" / "engine" / f".interrupted.npz.{PID}.partial", outside)
            with suppress(UserError):
                action(tmp_path / "library", whole)
        else:
            action(tmp_path / "library", whole)
        assert state(outside) == before


@pytest.mark.parametrize("name", ["rows", "engine-1", ".writer", "library.json"])
def test_a_link_in_a_library_is_named(
    name: str, tmp_path: Path, outside: Path, whole: Path
) -> None:
    copy(whole / "library", tmp_path / "library")
    trap = folder_link if name in LIBRARY_FOLDERS else file_link
    trap(tmp_path / "library" / name, outside)
    with pytest.raises(UserError, match=f"library/{name} is a link, which is not followed"):
        Library.open(tmp_path / "library", "cpu")


def test_the_users_own_links_are_followed(tmp_path: Path, whole: Path) -> None:
    copy(whole / "library", tmp_path / "library")
    (tmp_path / "mine").symlink_to(tmp_path / "library")
    (tmp_path / "library" / "films").symlink_to(tmp_path)  # beside our names, not looked at
    with Library.open(tmp_path / "mine", "cpu") as library:
        assert library.update(whole / "features.hdf5").unchanged == ["a", "b"]
        assert library.delete(["a"]) == ["a"]


def extract(folder: Path) -> None:
    """Write an output and its parts as `extract` does."""
    with FeatureOutput(folder / "f.hdf5", SETTINGS) as store:
        store.join({"a": store.add(video("a"))})


def extract_words(folder: Path) -> None:
    with Output(folder / "f.hdf5", "extract-text"):
        pass


def convert(folder: Path) -> None:
    big = {"a": np.ones((3, 4), np.float32)}
    convert_big_file(write_big_file(folder / "big", big), folder / "f.hdf5")


def pack(folder: Path) -> None:
    (folder / "data").mkdir()
    videos, _ = items(folder / "data")
    Packing(folder / "packed", "float32").store(videos)


def simulated(folder: Path) -> None:
    simulate(folder)


def train(folder: Path) -> None:
    """Write to a run's folder as a resumed training does."""
    root = folder / "runs"
    last = root / "version_0" / "checkpoints" / "last.ckpt"
    if not (root / "version_0").is_symlink():
        last.parent.mkdir(parents=True, exist_ok=True)
    run = RunFolder(root, str(last))
    run.open()
    write_config(run.path, "seed: 1\n")
    metrics = MetricsFile(run.path / "metrics.csv")
    metrics.log_metrics({"loss": 1.0}, 1)
    AtomicCheckpointIO().save_checkpoint({"a": 1}, run.path / "checkpoints" / "last.ckpt")
    metrics.save()


def go_on_elsewhere(folder: Path) -> None:
    """Resume a training from a checkpoint beside the folder of checkpoints."""
    run = RunFolder(folder / "runs", str(folder / "runs" / "version_0" / "mine" / "last.ckpt"))
    run.open()
    AtomicCheckpointIO().save_checkpoint({"a": 1}, run.path / "checkpoints" / "last.ckpt")


def evaluate(folder: Path) -> None:
    """Write to a run's folder as `test` does."""
    add_entry(folder / "runs" / "version_0", dict.fromkeys(KEY))


def cached(folder: Path) -> None:
    cache = CacheFolder(folder / "cache", limit=10)
    for path in (folder / "cache" / f"{'0' * 40}.jpg", cache.path("b", "jpg")):
        assert cache.find(path) is None
        cache.make(path, lambda partial: partial.write_bytes(b"picture") and None)


OTHERS: list[tuple[Callable[[Path], None], str, tuple[Trap, ...]]] = [
    (extract, "f.hdf5.parts", (folder_link,)),
    (extract, "f.hdf5.parts/.lock", FILE_TRAPS),
    (extract, "f.hdf5.parts/joined", FILE_TRAPS),
    (extract, f"f.hdf5.parts/{DIGEST}.hdf5", FILE_TRAPS),
    (extract, "f.hdf5.parts/.joined.PID.partial", FILE_TRAPS),
    (extract, "f.hdf5.parts/.joined.999999999.partial", FILE_TRAPS),
    (extract, "f.hdf5", FILE_TRAPS),
    (extract_words, "f.hdf5.parts", (folder_link,)),
    (extract_words, "f.hdf5.parts/000001.hdf5", FILE_TRAPS),
    (convert, ".f.hdf5.partial", (folder_link,)),
    (convert, ".f.hdf5.partial/feature.hdf5", FILE_TRAPS),
    (convert, ".f.hdf5.partial/convert.json", FILE_TRAPS),
    (convert, "f.hdf5", FILE_TRAPS),
    (pack, "packed/.lock", FILE_TRAPS),
    (simulated, ".charades.partial", (folder_link,)),
    (simulated, ".charades.partial/.lock", FILE_TRAPS),
    (simulated, ".charades.partial/text.hdf5", FILE_TRAPS),
    (simulated, ".charades.partial/text.hdf5.done", FILE_TRAPS),
    (simulated, ".charades.partial/simulated.json", FILE_TRAPS),
    (train, "runs/version_0", (folder_link,)),
    (train, "runs/version_0/checkpoints", (folder_link,)),
    (train, "runs/version_0/checkpoints/last.ckpt", FILE_TRAPS),
    (train, "runs/version_0/checkpoints/.last.ckpt.PID.partial", FILE_TRAPS),
    (train, "runs/version_0/metrics.csv", FILE_TRAPS),
    (train, "runs/version_0/.metrics.csv.PID.partial", FILE_TRAPS),
    (train, "runs/version_0/config.yaml", FILE_TRAPS),
    (train, "runs/version_0/config-1.yaml", FILE_TRAPS),
    (train, "runs/version_0/.config.yaml.PID.partial", FILE_TRAPS),
    (go_on_elsewhere, "runs/version_0/checkpoints", (folder_link,)),
    (evaluate, "runs/version_0", (folder_link,)),
    (evaluate, "runs/version_0/metrics.json", FILE_TRAPS),
    (evaluate, "runs/version_0/.lock", FILE_TRAPS),
    (evaluate, "runs/version_0/.metrics.json.PID.partial", FILE_TRAPS),
    (cached, f"cache/{'0' * 40}.jpg", FILE_TRAPS),
    (cached, f"cache/.{'0' * 40}.jpg.PID.partial", FILE_TRAPS),
    (cached, f"cache/.{'0' * 40}.jpg.999999999.partial", FILE_TRAPS),
]
OTHER_TRAPS = [(do, name, trap) for do, name, traps in OTHERS for trap in traps]


@pytest.mark.parametrize(
    ("do", "name", "trap"),
    OTHER_TRAPS,
    ids=[f"{do.__name__}-{name}-{trap.__name__}" for do, name, trap in OTHER_TRAPS],
)
def test_traps_in_other_folders_change_nothing_outside(
    do: Callable[[Path], None], name: str, trap: Trap, tmp_path: Path, outside: Path
) -> None:
    folder = tmp_path / "stranger"
    folder.mkdir()
    trap(folder / name.replace("PID", str(PID)), outside)
    with suppress(UserError):
        do(folder)


@pytest.mark.parametrize(
    "do", [extract, extract_words, convert, pack, simulated, train, evaluate, cached]
)
def test_without_a_trap_every_action_works(do: Callable[[Path], None], tmp_path: Path) -> None:
    do(tmp_path)
