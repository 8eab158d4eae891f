import errno
import fcntl
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import h5py
import numpy as np
import pytest
from bigfiles import write_big_file

from data_modules.readers import convert
from data_modules.readers.convert import convert_big_file
from data_modules.readers.features import open_features
from dreamprvr.core.errors import UserError

GENERATOR = np.random.default_rng(0)
VIDEOS = {f"v{i}é'": GENERATOR.normal(size=(1 + 7 * i, 16)).astype(np.float32) for i in range(12)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_big_file(tmp_path / "i3d", VIDEOS)


def check(target: Path) -> None:
    with h5py.File(target, "r") as file:
        assert set(file) == set(VIDEOS)
        for video, rows in VIDEOS.items():
            assert file[video].dtype == np.float32
            np.testing.assert_array_equal(file[video][()], rows)
    assert not target.with_name(target.name + ".partial").exists()


def written(monkeypatch: pytest.MonkeyPatch, fail_at: int = -1, error: BaseException | None = None):
    """Record the videos that get written; the `fail_at`-th one fails half-way."""
    videos: list[str] = []
    write = convert._write_video

    def record(file, partial, source, video):
        if len(videos) == fail_at:
            file.create_dataset(video, VIDEOS[video].shape, "f4")
            raise error or AssertionError
        videos.append(video)
        write(file, partial, source, video)

    monkeypatch.setattr(convert, "_write_video", record)
    return videos


def test_converts_and_reads_back_the_same(folder: Path, capsys: pytest.CaptureFixture):
    big = open_features(folder)
    target = convert_big_file(folder)
    assert target == folder / "feature.hdf5"
    check(target)
    assert "12/12" in capsys.readouterr().err
    flat = open_features(folder)
    assert type(flat) is not type(big)
    for video in VIDEOS:
        np.testing.assert_array_equal(flat[video], big[video])


def test_reserved_disk_is_given_back(folder: Path):
    target = convert_big_file(folder, progress=False)
    assert target.stat().st_size < 100_000 < convert.SPARE_BYTES


def test_small_blocks_and_checkpoints_make_no_difference(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(convert, "BLOCK_ROWS", 3)
    monkeypatch.setattr(convert, "CHECKPOINT_BYTES", 1)
    check(convert_big_file(folder, folder / "deep" / "x.h5", progress=False))


def test_a_complete_target_is_not_written_again(folder: Path, capsys: pytest.CaptureFixture):
    target = convert_big_file(folder, progress=False)
    before = target.stat()
    assert convert_big_file(folder, progress=False) == target
    assert target.stat().st_mtime_ns == before.st_mtime_ns
    assert "already holds all of 12 videos: nothing to do" in capsys.readouterr().out


def test_other_target_is_not_overwritten(folder: Path):
    with h5py.File(folder / "feature.hdf5", "w") as file:
        file["v0é'"] = VIDEOS["v0é'"]
    with pytest.raises(UserError, match=r"differs from the big file in 11 of 12 .*move it away"):
        convert_big_file(folder, progress=False)
    (folder / "feature.hdf5").write_bytes(b"x")
    with pytest.raises(UserError, match="is no HDF5 file; it starts with the text 'x'"):
        convert_big_file(folder, progress=False)


@pytest.mark.parametrize("every", [1, 2**30])
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
    every: int,
    error: BaseException,
    raised: type[BaseException],
):
    monkeypatch.setattr(convert, "CHECKPOINT_BYTES", every)
    with monkeypatch.context() as patch:
        written(patch, 5, error)
        with pytest.raises(raised) as caught:
            convert_big_file(folder, progress=False)
    if raised is UserError:
        assert "make room there, then run the same" in str(caught.value)
        assert "run the same command again" in str(caught.value)
    assert not (folder / "feature.hdf5").exists()
    videos = written(monkeypatch)
    check(convert_big_file(folder, progress=False))
    assert videos == list(VIDEOS)[5:]


def interrupt(folder: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        written(patch, 5, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            convert_big_file(folder, progress=False)
    return folder / "feature.hdf5.partial"


def test_wrong_values_in_a_partial_are_written_again(folder: Path, monkeypatch: pytest.MonkeyPatch):
    with h5py.File(interrupt(folder), "r+") as file:
        file["v2é'"][3, 3] = 0
        del file["v3é'"]
        file["v3é'"] = np.zeros((2, 16), "f4")
    videos = written(monkeypatch)
    check(convert_big_file(folder, progress=False))
    assert videos == [*list(VIDEOS)[2:4], *list(VIDEOS)[5:]]


@pytest.mark.parametrize("damage", ["other source", "no HDF5", "truncated", "empty"])
def test_useless_partial_is_started_over(
    folder: Path, monkeypatch: pytest.MonkeyPatch, damage: str
):
    partial = interrupt(folder)
    content = partial.read_bytes()
    if damage == "other source":
        os.utime(folder / "feature.bin", ns=(1, 1))
    else:
        parts = {"no HDF5": b"x" * 5000, "truncated": content[:900], "empty": b""}
        partial.write_bytes(parts[damage])
    videos = written(monkeypatch)
    check(convert_big_file(folder, progress=False))
    assert videos == list(VIDEOS)


def test_second_conversion_at_the_same_time_is_refused(folder: Path):
    partial = interrupt(folder)
    with partial.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        before = partial.read_bytes()
        with pytest.raises(UserError, match="being written by another program: wait for it"):
            convert_big_file(folder, progress=False)
        assert partial.read_bytes() == before


def test_lack_of_disk_is_refused_before_the_work(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(convert, "SPARE_BYTES", 2**62)
    with pytest.raises(UserError, match="MB of free disk, and there are"):
        convert_big_file(folder, progress=False)
    assert not (folder / "feature.hdf5.partial").exists()


def run(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    script = (
        "import os, resource, signal\nfrom data_modules.readers import convert\n"
        + textwrap.dedent(code)
    )
    return subprocess.run(
        [sys.executable, "-c", script, str(folder)], capture_output=True, text=True, check=False
    )


def test_really_full_disk_keeps_the_work(folder: Path, monkeypatch: pytest.MonkeyPatch):
    code = f"""
        convert.SPARE_BYTES = 8192
        resource.setrlimit(resource.RLIMIT_FSIZE, (24_000, resource.RLIM_INFINITY))
        convert.convert_big_file({str(folder)!r}, progress=False)
    """
    result = run(folder, code)
    assert result.returncode == 1  # not a crash inside HDF5
    assert "UserError" in result.stderr
    assert "File too large; make room there" in result.stderr.splitlines()[-1]
    videos = written(monkeypatch)
    check(convert_big_file(folder, progress=False))
    assert 0 < len(videos) < len(VIDEOS)


def test_killed_run_is_continued_from_the_last_checkpoint(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    code = f"""
        write, count = convert._write_video, []
        convert.CHECKPOINT_BYTES = 8000
        def kill(*arguments):
            count.append(1)
            if len(count) == 11:
                os.kill(os.getpid(), signal.SIGKILL)
            write(*arguments)
        convert._write_video = kill
        convert.convert_big_file({str(folder)!r}, progress=False)
    """
    assert run(folder, code).returncode == -signal.SIGKILL
    videos = written(monkeypatch)
    check(convert_big_file(folder, progress=False))
    assert 2 <= len(videos) <= 4  # what came after the last checkpoint


def test_names_that_hdf5_would_take_for_paths_are_refused(tmp_path: Path):
    folder = write_big_file(tmp_path / "x", {"../v": np.ones((1, 2), np.float32)})
    with pytest.raises(UserError, match=r"'\.\./v' cannot be the name"):
        convert_big_file(folder, progress=False)


def test_values_are_copied_as_they_are(tmp_path: Path):
    rows = np.array([[np.nan, np.inf]], np.float32)
    folder = write_big_file(tmp_path / "x", {"v": rows})
    (folder / "video2frames.txt").write_text("{'v': ['v_0'], 'none': []}")
    with h5py.File(convert_big_file(folder, progress=False), "r") as file:
        np.testing.assert_array_equal(file["v"][()], rows)
        assert file["none"].shape == (0, 2)
    convert_big_file(folder, progress=False)
