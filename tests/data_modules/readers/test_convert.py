import errno
import fcntl
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from bigfiles import write_big_file

from data_modules.generation import folders
from data_modules.readers import convert
from data_modules.readers.convert import convert_big_file
from data_modules.readers.features import open_features
from dreamprvr.core.errors import UserError

GENERATOR = np.random.default_rng(0)
VIDEOS = {f"v{i}é'": GENERATOR.normal(size=(1 + 7 * i, 16)).astype(np.float32) for i in range(12)}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(convert, "CHUNK", 2)
    return write_big_file(tmp_path / "i3d", VIDEOS)


def check(target: Path) -> None:
    with h5py.File(target, "r") as file:
        assert set(file) == set(VIDEOS)
        for video, rows in VIDEOS.items():
            assert file[video].dtype == np.float32
            np.testing.assert_array_equal(file[video][()], rows)
    assert not target.with_name(f".{target.name}.partial").exists()


def written(
    monkeypatch: pytest.MonkeyPatch, fail_at: int = -1, error: BaseException | None = None
) -> list[str]:
    """Record the videos that get written; the `fail_at`-th one fails half-way."""
    videos: list[str] = []
    write = folders.write_rows

    def record(file: h5py.File, name: str, rows: np.ndarray) -> h5py.Dataset:
        if len(videos) == fail_at:
            file.create_dataset(name, rows.shape, "f4")
            raise error or AssertionError
        videos.append(name)
        return write(file, name, rows)

    monkeypatch.setattr(folders, "write_rows", record)
    return videos


def test_converts_and_reads_back_the_same(folder: Path) -> None:
    big = open_features(folder)
    target = convert_big_file(folder)
    assert target == folder / "feature.hdf5"
    check(target)
    flat = open_features(folder)
    assert type(flat) is not type(big)
    for video in VIDEOS:
        np.testing.assert_array_equal(flat[video], big[video])


def test_a_target_in_a_new_folder(folder: Path) -> None:
    check(convert_big_file(folder, folder / "deep" / "x.h5"))


def test_a_complete_target_is_not_written_again(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = convert_big_file(folder)
    before = target.stat()
    assert convert_big_file(folder) == target
    assert target.stat().st_mtime_ns == before.st_mtime_ns
    assert "already holds all of 12 videos: nothing to do" in capsys.readouterr().out


def test_other_target_is_not_overwritten(folder: Path) -> None:
    with h5py.File(folder / "feature.hdf5", "w") as file:
        file["v0é'"] = VIDEOS["v0é'"]
        file["v1é'"] = VIDEOS["v1é'"] + 1
        file["v2é'"] = VIDEOS["v2é'"].astype("f8")
    with pytest.raises(UserError, match=r"differs from the big file in 11 of 12 .*move it away"):
        convert_big_file(folder)
    (folder / "feature.hdf5").write_bytes(b"x")
    with pytest.raises(UserError, match="is a text file, not an HDF5 file"):
        convert_big_file(folder)


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (KeyboardInterrupt(), KeyboardInterrupt),
        (OSError(errno.ENOSPC, "No space left on device"), UserError),
        (RuntimeError("Can't write data (write failed: errno = 28, x)"), UserError),
    ],
)
def test_interrupted_work_is_continued(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    raised: type[BaseException],
) -> None:
    with monkeypatch.context() as patch:
        written(patch, 5, error)
        with pytest.raises(raised) as caught:
            convert_big_file(folder)
    if raised is UserError:
        assert "make room there, then run the same command again" in str(caught.value)
    assert not (folder / "feature.hdf5").exists()
    videos = written(monkeypatch)
    check(convert_big_file(folder))
    assert videos == list(VIDEOS)[4:]  # from the chunk of the fifth video on


def interrupt(folder: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        written(patch, 5, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            convert_big_file(folder)
    return folder / ".feature.hdf5.partial" / "feature.hdf5"


@pytest.mark.parametrize("damage", ["other source", "no HDF5", "truncated", "empty"])
def test_useless_work_is_started_over(
    folder: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    partial = interrupt(folder)
    content = partial.read_bytes()
    if damage == "other source":
        os.utime(folder / "feature.bin", ns=(1, 1))
    else:
        parts = {"no HDF5": b"x" * 5000, "truncated": content[:900], "empty": b""}
        partial.write_bytes(parts[damage])
    videos = written(monkeypatch)
    check(convert_big_file(folder))
    assert videos == list(VIDEOS)


def test_second_conversion_at_the_same_time_is_refused(folder: Path) -> None:
    partial = interrupt(folder)
    with partial.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        before = partial.read_bytes()
        with pytest.raises(UserError, match="being written by another program: wait for it"):
            convert_big_file(folder)
        assert partial.read_bytes() == before


def test_lack_of_disk_is_refused_before_the_work(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dreamprvr.core.files.MARGIN", 2**62)
    with pytest.raises(UserError, match="MB of free disk, and there are"):
        convert_big_file(folder)
    assert not (folder / "feature.hdf5").exists()


def test_names_that_hdf5_would_take_for_paths_are_refused(tmp_path: Path) -> None:
    folder = write_big_file(tmp_path / "x", {"../v": np.ones((1, 2), np.float32)})
    with pytest.raises(UserError, match=r"'\.\./v' cannot be the name"):
        convert_big_file(folder)


def test_values_are_copied_as_they_are(tmp_path: Path) -> None:
    rows = np.array([[np.nan, np.inf]], np.float32)
    folder = write_big_file(tmp_path / "x", {"v": rows})
    (folder / "video2frames.txt").write_text("{'v': ['v_0'], 'none': []}")
    with h5py.File(convert_big_file(folder), "r") as file:
        np.testing.assert_array_equal(file["v"][()], rows)
        assert file["none"].shape == (0, 2)
    convert_big_file(folder)
