import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from data_modules.generation.folders import (
    building,
    generator,
    is_current,
    work_folder,
    write_datasets,
)
from data_modules.readers.hdf5 import write_rows
from dreamprvr.core.errors import UserError

SETTINGS = {"seed": 3, "looks": {"noise": 0.5}}


def make(folder: Path, settings: dict[str, object], text: str = "made") -> None:
    with building(folder, "made.json", settings) as new:
        (new / "data.txt").write_text(text)


def test_a_folder_is_current_for_its_own_settings_only(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "world"
    assert not is_current(folder, "made.json", SETTINGS)
    make(folder, SETTINGS)
    assert is_current(folder, "made.json", SETTINGS)
    assert not is_current(folder, "made.json", SETTINGS | {"seed": 4})
    assert json.loads((folder / "made.json").read_text()) == SETTINGS


def test_building_replaces_the_whole_folder_and_leaves_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "world"
    make(folder, SETTINGS)
    (folder / "stale.txt").touch()
    make(folder, SETTINGS | {"seed": 4}, "new")
    assert sorted(p.name for p in folder.iterdir()) == ["data.txt", "made.json"]
    assert (folder / "data.txt").read_text() == "new"
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_interrupted_build_leaves_what_was_there(
    tmp_path: Path, error: type[BaseException]
) -> None:
    folder = tmp_path / "world"
    make(folder, SETTINGS, "old")

    def interrupted() -> None:
        with building(folder, "made.json", {"seed": 9}) as new:
            (new / "half.txt").touch()
            raise error

    with pytest.raises(error):
        interrupted()
    assert is_current(folder, "made.json", SETTINGS)
    assert (folder / "data.txt").read_text() == "old"
    assert list(tmp_path.iterdir()) == [folder]


def test_another_process_that_was_faster_is_no_error(tmp_path: Path) -> None:
    folder = tmp_path / "world"
    with building(folder, "made.json", SETTINGS) as new:
        (new / "data.txt").write_text("slower")
        make(folder, SETTINGS, "faster")
    assert is_current(folder, "made.json", SETTINGS)
    assert list(tmp_path.iterdir()) == [folder]


def test_data_that_were_not_generated_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "charades"
    folder.mkdir()
    assert not is_current(folder, "made.json", SETTINGS)  # empty: free to use
    (folder / "precious.hdf5").touch()
    with pytest.raises(UserError, match="not generated"):
        is_current(folder, "made.json", SETTINGS)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file"):
        is_current(tmp_path / "file", "made.json", SETTINGS)


def test_a_damaged_record_means_make_it_again(tmp_path: Path) -> None:
    make(tmp_path / "world", SETTINGS)
    (tmp_path / "world" / "made.json").write_text("{half")
    assert not is_current(tmp_path / "world", "made.json", SETTINGS)


def test_generators_depend_only_on_seed_and_names() -> None:
    first = generator(0, "video", "v1").random(4)
    np.testing.assert_array_equal(first, generator(0, "video", "v1").random(4))
    # a known value: the same in every process and on every machine
    assert round(float(first[0]), 12) == 0.948613976962
    for other in (generator(1, "video", "v1"), generator(0, "video", "v2"), generator(0, "v1")):
        assert not np.array_equal(first, other.random(4))


@pytest.mark.parametrize("content", [b"{", b"[" * 100_000, b"\xff", b""])
def test_a_damaged_record_is_made_again(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "record.json").write_bytes(content)
    assert not is_current(tmp_path, "record.json", {"seed": 0})


def test_a_pipe_for_a_record_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "record.json")
    with pytest.raises(UserError, match=r"record\.json is a pipe"):
        is_current(tmp_path, "record.json", {"seed": 0})


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


def test_finished_files_are_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    assert write(path) == [0, 2, 4]
    check(path)
    assert write(path) == []
    check(path)


def test_an_interrupted_file_is_continued(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.hdf5"
    with pytest.raises(KeyboardInterrupt):
        write(path, stop_at=2)
    assert capsys.readouterr().out == ""
    with pytest.raises(KeyboardInterrupt):
        write(path, stop_at=4)
    assert capsys.readouterr().out == "2 of 5 videos are there already\n"
    assert write(path) == [4]
    check(path)


def test_half_written_datasets_are_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.hdf5"
    put = write_rows

    def cut(file: h5py.File, name: str, rows: Any) -> None:
        put(file, name, np.zeros_like(rows) if name == "v3" else rows)
        if name == "v3":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):  # noqa: PT012
        patch.setattr("data_modules.generation.folders.write_rows", cut)
        write(path)
    assert write(path) == [2, 4]
    check(path)


def test_remains_of_a_killed_process_are_written_again(tmp_path: Path) -> None:
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
        patch.setattr("data_modules.generation.folders.check_free_disk", check_free_disk)
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
def test_damaged_files_are_made_again(tmp_path: Path, damage: str, stop_at: int | None) -> None:
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
