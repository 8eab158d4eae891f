import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from search.libraries import features, library, video

from dreamprvr.core.errors import UserError
from dreamprvr.core.files import MARGIN, MB, DiskFull, check_free_disk
from dreamprvr.search import room
from dreamprvr.search.edge_engine import EdgeEngine
from dreamprvr.search.library import Library
from dreamprvr.search.room import check_holes, used

Disk = Callable[[int], None]


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """Sets the bytes that every disk has free."""

    def free(size: int) -> None:
        usage = shutil._ntuple_diskusage(10**12, 10**12 - size, size)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)

    return free


def test_room_for_what_is_written_and_a_margin(tmp_path: Path, disk: Disk) -> None:
    disk(5 * MB + MARGIN)
    check_free_disk(tmp_path, 5 * MB, "writing")
    message = f"{tmp_path}: writing needs 38 MB of free disk, and there are 37 MB"
    with pytest.raises(DiskFull, match=message):
        check_free_disk(tmp_path, 5 * MB + 1, "writing")


def test_places_that_were_never_written_count_in_memory(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "folder" / "chunk"
    file.parent.mkdir()
    file.write_bytes(bytes(8192))
    os.truncate(file, 100 * MB)
    assert used(tmp_path) < 1 * MB
    disk(MARGIN + 99 * MB)
    mounts = tmp_path / "mounts"
    monkeypatch.setattr(room, "_MOUNTS", mounts)
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


def test_a_library_on_a_disk_that_fills(tmp_path: Path, disk: Disk) -> None:
    with library(tmp_path, video("a", dog=7)) as made:
        path = features(tmp_path / "more.hdf5", [video("a", dog=7), video("b")])
        disk(MARGIN - 1)
        for change in (lambda: made.update(path), made.compact, lambda: made.delete(["a"])):
            with pytest.raises(UserError, match=r"needs 3[23] MB of free disk"):
                change()
        assert [hit.video.video_id for hit in made.search("dog").hits] == ["a"]
        disk(MARGIN + used(made.path / "engine") // 2)  # enough for a video, not for all
        report = made.update(path)
        assert report.added == ["b"]
        assert "not compacted, which `lightning library compact" in report.warnings[0]
        disk(10**12)
        assert made.update(path).unchanged == ["a", "b"]


def test_making_and_mending_need_room(tmp_path: Path, disk: Disk) -> None:
    path = features(tmp_path / "features.hdf5", [video("a")])
    disk(MARGIN - 1)
    with pytest.raises(DiskFull, match="making a library needs 32 MB"):
        Library.create(tmp_path / "library", path)
    disk(10**12)
    Library.create(tmp_path / "library", path).close()
    engine = EdgeEngine(tmp_path / "library" / "engine", 6)
    engine._journal.open(["b"])
    disk(MARGIN - 1)
    with pytest.raises(DiskFull, match="completing what was interrupted needs 32 MB"):
        engine.repair()
    engine.close()
