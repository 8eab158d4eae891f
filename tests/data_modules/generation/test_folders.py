import json
import os
from pathlib import Path

import numpy as np
import pytest

from data_modules.generation.folders import building, generator, is_current
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


def test_generators_depend_on_seed_and_names_alone() -> None:
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
