from pathlib import Path

import h5py
import numpy as np
import pytest
from bigfiles import write_big_file
from shared import DATA, needs_data

from data_modules.readers.bigfile import BigFileFeatures
from data_modules.readers.features import open_features
from data_modules.readers.hdf5 import GroupedHdf5Features, Hdf5Features
from dreamprvr.core.errors import UserError

ROWS = np.arange(6, dtype=np.float32).reshape(3, 2)


def write(path: Path, **datasets: np.ndarray) -> Path:
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, rows in datasets.items():
            file[name] = rows
    return path


def test_big_file_behind_the_common_interface(tmp_path: Path):
    store = BigFileFeatures(write_big_file(tmp_path / "i3d", {"v#0": ROWS, "w": ROWS[:1] + 1}))
    assert (store.dim, store.keys(), store.rows("v#0")) == (2, ["v#0", "w"], 3)
    np.testing.assert_array_equal(store["v#enc#0"], ROWS)
    assert "x" not in store


def test_big_file_with_bad_values(tmp_path: Path):
    folder = write_big_file(tmp_path / "i3d", {"v": ROWS, "bad": ROWS + np.nan})
    text = (folder / "video2frames.txt").read_text()
    (folder / "video2frames.txt").write_text(text[:-1] + ", 'none': []}")
    store = open_features(folder)
    assert store.rows("none") == 0
    for name, message in {"bad": "NaN", "none": "has no rows"}.items():
        with pytest.raises(UserError, match=f"i3d: '{name}' .*{message}.*lightning data check"):
            store[name]
    np.testing.assert_array_equal(store["v"], ROWS)


@needs_data
def test_real_features_come_back_identical(tmp_path: Path):
    rows = np.load(DATA / "videos" / "women_long_jump_rgb.npy")
    store = open_features(write_big_file(tmp_path / "i3d", {"jump": rows, "other": rows[:2]}))
    assert store["jump"].tobytes() == rows.astype(np.float32).tobytes()


def test_open_features_decides_by_what_is_there(tmp_path: Path):
    folder = write_big_file(tmp_path / "i3d", {"v": ROWS})
    assert isinstance(open_features(folder), BigFileFeatures)
    write(folder / "feature.hdf5", v=ROWS)
    assert isinstance(open_features(str(folder)), Hdf5Features)
    assert open_features(folder).path == folder / "feature.hdf5"
    flat = open_features(write(tmp_path / "a.h5", v=ROWS))
    assert isinstance(flat, Hdf5Features)
    assert not isinstance(flat, GroupedHdf5Features)
    two = write(tmp_path / "b.hdf5", **{"v/clip_feat": ROWS, "v/i3d_feat": ROWS[:, :1]})
    assert open_features(two, "i3d_feat").dim == 1
    assert open_features(write(tmp_path / "c.hdf5", **{"v/only": ROWS})).keys() == ["v"]


def test_open_features_names_the_mistake(tmp_path: Path):
    two = write(tmp_path / "b.hdf5", **{"v/clip_feat": ROWS, "v/i3d_feat": ROWS})
    flat = write(tmp_path / "a.hdf5", v=ROWS)
    folder = write_big_file(tmp_path / "i3d", {"v": ROWS})
    (tmp_path / "empty").mkdir()
    for path, name, message in [
        (two, None, r"choose a name of \['clip_feat', 'i3d_feat'\]"),
        (two, "vgg", "expected a group per id that holds 'vgg'"),
        (flat, "vgg", "no groups that could hold 'vgg'"),
        (folder, "vgg", "no 'vgg': leave the name out"),
        (tmp_path / "empty", None, "neither feature.hdf5 nor feature.bin"),
        (tmp_path / "nothing", None, "nothing is missing: expected an HDF5 file, or a folder"),
        (folder / "id.txt", None, "id.txt is a text file, not an HDF5 file"),
    ]:
        with pytest.raises(UserError, match=message):
            open_features(path, name)
