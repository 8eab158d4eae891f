import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from data_modules.generation.resumable import work_folder, write_datasets
from data_modules.readers.hdf5 import write_rows
from dreamprvr.core.errors import UserError

NAMES = [f"v{i}" for i in range(5)]
ARRAYS = [np.full((i + 1, 2), i, np.float32) for i in range(5)]


def maker(calls: list[int], stop_at: int | None = None) -> Callable[[int, int], list[np.ndarray]]:
    """Notes where each chunk starts; raises at one of them."""

    def make(start: int, stop: int) -> list[np.ndarray]:
        if start == stop_at:
            raise KeyboardInterrupt
        calls.append(start)
        return ARRAYS[start:stop]

    return make


def write(path: Path, stop_at: int | None = None) -> list[int]:
    calls: list[int] = []
    write_datasets(path, NAMES, maker(calls, stop_at), 2, "videos")
    return calls


def check(path: Path) -> None:
    with h5py.File(path) as file:
        assert list(file) == NAMES
        assert not file.attrs
        for name, array in zip(NAMES, ARRAYS, strict=True):
            np.testing.assert_array_equal(file[name][()], array)


def test_in_one_go_and_never_again(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    assert write(path) == [0, 2, 4]
    check(path)
    assert write(path) == []
    check(path)


def test_going_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.hdf5"
    with pytest.raises(KeyboardInterrupt):
        write(path, stop_at=2)
    assert capsys.readouterr().out == ""
    with pytest.raises(KeyboardInterrupt):
        write(path, stop_at=4)
    assert capsys.readouterr().out == "2 of 5 videos are there already\n"
    assert write(path) == [4]
    check(path)


def test_what_was_half_written_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.hdf5"
    put = write_rows

    def cut(file: h5py.File, name: str, rows: Any) -> None:
        put(file, name, np.zeros_like(rows) if name == "v3" else rows)
        if name == "v3":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):  # noqa: PT012
        patch.setattr("data_modules.generation.resumable.write_rows", cut)
        write(path)
    assert write(path) == [2, 4]
    check(path)


def test_what_a_killed_process_left_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    with pytest.raises(KeyboardInterrupt):
        write(path, stop_at=2)

    def make(start: int, stop: int) -> list[np.ndarray]:
        # whenever it is killed, it leaves no note and perhaps a damaged file
        assert [p.name for p in tmp_path.iterdir()] == ["a.hdf5"]
        return ARRAYS[start:stop]

    write_datasets(path, NAMES, make, 2, "videos")
    (tmp_path / "a.hdf5.done").unlink()
    path.write_bytes(path.read_bytes()[:100])
    assert write(path) == [0, 2, 4]
    check(path)


def test_a_full_disk_keeps_what_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.hdf5"
    rooms = iter([1, 0])

    def check_free_disk(folder: Path, needed: int, doing: str) -> None:
        assert needed > 4 * 2**20
        if not next(rooms):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("data_modules.generation.resumable.check_free_disk", check_free_disk)
        with pytest.raises(UserError, match=r"a\.hdf5: No space left .* the same command"):
            write(path)
    assert write(path) == [2, 4]
    check(path)


def test_work_folder(tmp_path: Path) -> None:
    folder, settings = tmp_path / "new" / "data", {"seed": 1, "mixture": {"noise": 0.5}}
    work = work_folder(folder, "made.json", settings)
    assert work.parent == folder.parent
    (work / "a.hdf5").touch()
    assert work_folder(folder, "made.json", dict(settings)) == work
    assert (work / "a.hdf5").exists()
    assert work_folder(folder, "made.json", settings | {"seed": 2}) == work
    assert [path.name for path in work.iterdir()] == ["made.json"]


@pytest.mark.parametrize("damage", ["cut", "zeros", "other names", "note", "none"])
@pytest.mark.parametrize("stop_at", [2, None])
def test_what_was_damaged_meanwhile_is_made_anew(
    tmp_path: Path, damage: str, stop_at: int | None
) -> None:
    path = tmp_path / "a.hdf5"
    if stop_at is None:
        write(path)
    else:
        with pytest.raises(KeyboardInterrupt):
            write(path, stop_at)
    whole = path.read_bytes()
    if damage == "cut":
        path.write_bytes(whole[:-100])
    elif damage == "zeros":
        path.write_bytes(whole[:96] + bytes(400) + whole[496:])
    elif damage == "other names":
        with h5py.File(path, "w") as file:
            file["w"] = ARRAYS[0]
    elif damage == "note":
        path.with_name("a.hdf5.done").write_text("77" if stop_at else "two")
    else:
        path.unlink()
    assert write(path) == [0, 2, 4]
    check(path)
