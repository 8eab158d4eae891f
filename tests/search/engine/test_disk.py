"""Errors in the engine's folder, and checks of free disk space."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from search.libraries import engine_of, features, library, video

from dreamprvr.core.errors import UserError
from dreamprvr.core.files import MARGIN, MB, DiskFull, check_free_disk
from dreamprvr.search.engine import disk as disk_module
from dreamprvr.search.engine import draft
from dreamprvr.search.engine.disk import check_holes, plain_errors, used
from dreamprvr.search.engine.edge import EdgeEngine
from dreamprvr.search.engine.interface import Layout
from dreamprvr.search.library import Library

Panic = type("PanicException", (BaseException,), {"__module__": "pyo3_runtime"})


@pytest.mark.parametrize(
    ("error", "reason"),
    [(Exception("first\nsecond"), "first"), (Panic("no"), "no"), (KeyError(), "KeyError")],
)
def test_errors_and_panics(error: BaseException, reason: str) -> None:
    with (
        pytest.raises(UserError, match=rf"^/x cannot be read \({reason}\): move it$"),
        plain_errors(Path("/x"), "cannot be read", "move it"),
    ):
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), UserError("said")])
def test_other_exceptions_pass_unchanged(error: BaseException) -> None:
    with pytest.raises(type(error)) as found, plain_errors(Path("/x"), "cannot", "do"):
        raise error
    assert found.value is error


DAMAGES = [
    ("vector_storage-tokens/offsets/chunk_0.mmap", None),  # panics in the query
    ("vector_storage-tokens/vectors/chunk_0.mmap", None),  # an error in the query
    ("vector_storage-segments/deleted/status.dat", 0),  # panics when it is opened
    ("payload_storage/page_0.dat", b"\xff" * 4096),  # an error in what the query gives
    ("segment.json", b"["),
]


@pytest.mark.parametrize(("name", "damage"), DAMAGES)
def test_damaged_files(tmp_path: Path, name: str, damage: bytes | int | None) -> None:
    library(tmp_path, video("a", dog=7), video("b")).close()
    (segment,) = (engine_of(tmp_path / "library") / "segments").iterdir()
    path = segment / name
    if isinstance(damage, bytes):
        with path.open("r+b") as file:
            file.write(damage)
    elif damage is None:
        path.unlink()
    else:
        os.truncate(path, damage)
    with (
        pytest.raises(UserError, match=r"engine-1 cannot be read \(.+\): move it away and index"),
        Library.open(tmp_path / "library") as opened,
    ):
        opened.search("dog")


def test_a_panic_prints_no_backtrace(tmp_path: Path) -> None:
    library(tmp_path, video("a")).close()
    (segment,) = (engine_of(tmp_path / "library") / "segments").iterdir()
    os.truncate(segment / "vector_storage-segments" / "deleted" / "status.dat", 0)
    code = "import sys; from pathlib import Path; from dreamprvr.search.engine.edge import *; "
    code += "EdgeEngine(Path(sys.argv[1]), lambda: Layout(6, ('frames',), {}))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(engine_of(tmp_path / "library"))], text=True,
        capture_output=True, env={**os.environ, "RUST_BACKTRACE": "1"}, check=False,
    )  # fmt: skip
    before, _, after = done.stderr.partition("Traceback")
    assert "cannot be read (index out of bounds" in after
    assert len(before.splitlines()) < 6


def test_an_engine_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "engine").write_text("")
    with pytest.raises(UserError, match=r"engine cannot be made \(.*File exists"):
        EdgeEngine.create(tmp_path / "engine", FRAMES)


@pytest.mark.parametrize("name", ["", "edge_config.json", "segments"])
def test_files_that_may_not_be_written(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    library(tmp_path, video("a", dog=7)).close()
    forbidden = engine_of(tmp_path / "library") / name
    monkeypatch.setattr(os, "access", lambda path, mode: (Path(path), mode) != (forbidden, os.W_OK))
    with pytest.raises(UserError, match=f"^{forbidden} may not be written, .* copy the library"):
        Library.open(tmp_path / "library")
    monkeypatch.undo()
    with Library.open(tmp_path / "library") as opened:
        assert len(opened.search("dog").hits) == 1


FRAMES = Layout(6, ("frames",), {})
Disk = Callable[[int], None]


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """Sets the bytes that every disk has free."""

    def free(size: int) -> None:
        usage = shutil._ntuple_diskusage(10**12, 10**12 - size, size)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)

    return free


def test_the_free_disk_must_hold_the_written_bytes_and_a_margin(tmp_path: Path, disk: Disk) -> None:
    disk(5 * MB + MARGIN)
    check_free_disk(tmp_path, 5 * MB, "writing")
    message = f"{tmp_path}: writing needs 38 MB of free disk, and there are 37 MB"
    with pytest.raises(DiskFull, match=message):
        check_free_disk(tmp_path, 5 * MB + 1, "writing")


def test_holes_of_files_count_on_a_disk_in_memory(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "folder" / "chunk"
    file.parent.mkdir()
    file.write_bytes(bytes(8192))
    os.truncate(file, 100 * MB)
    assert used(tmp_path) < 1 * MB
    disk(MARGIN + 99 * MB)
    mounts = tmp_path / "mounts"
    monkeypatch.setattr(disk_module, "_MOUNTS", mounts)
    device = tmp_path.stat().st_dev
    line = "36 35 {}:{} / {} rw shared:1 - {} disk rw\n"
    other = line.format(os.major(device) + 1, 0, "/", "ext4")
    for kind in ("ext4", "tmpfs"):
        mounts.write_text(other + line.format(os.major(device), os.minor(device), tmp_path, kind))
        if kind == "ext4":
            check_holes(tmp_path)
    with pytest.raises(DiskFull, match=r"a disk in memory needs 132 MB .* there are 131 MB"):
        check_holes(tmp_path)
    mounts.unlink()
    check_holes(tmp_path)  # a system that does not say


def test_a_library_on_a_disk_that_fills(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    with library(tmp_path, video("a", dog=7)) as made:
        path = features(tmp_path / "more.hdf5", [video("a", dog=7), video("b")])
        disk(MARGIN - 1)
        for change in (lambda: made.update(path), made.compact, lambda: made.delete(["a"])):
            with pytest.raises(UserError, match=r"needs 3[23] MB of free disk"):
                change()
        assert [hit.video.video_id for hit in made.search("dog").hits] == ["a"]
        disk(MARGIN + used(engine_of(made.path)) - 1)
        with pytest.raises(DiskFull, match="a copy, which is written while the library is search"):
            made.update(path)
        copied = disk_module.copy_files

        def fill(source: Path, target: Path) -> None:
            copied(source, target)
            disk(MARGIN + used(target) // 2)  # enough for a video, not for all

        monkeypatch.setattr(draft, "copy_files", fill)
        disk(10**12)
        report = made.update(path)
        assert report.added == ["b"]
        assert "could not be compacted; later, run `lightning library compact" in report.warnings[0]
        disk(10**12)
        assert made.update(path).unchanged == ["a", "b"]


def test_creation_and_repair_need_free_disk(tmp_path: Path, disk: Disk) -> None:
    path = features(tmp_path / "features.hdf5", [video("a")])
    disk(MARGIN - 1)
    with pytest.raises(DiskFull, match="making a library needs 32 MB"):
        Library.create(tmp_path / "library", path)
    disk(10**12)
    Library.create(tmp_path / "library", path).close()
    engine = EdgeEngine(tmp_path / "library" / "engine", lambda: FRAMES)
    engine._journal.open(["b"])
    disk(MARGIN - 1)
    with pytest.raises(DiskFull, match="completing an interrupted write needs 32 MB"):
        engine.repair()
    engine.close()
