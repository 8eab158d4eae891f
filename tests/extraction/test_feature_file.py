import os
import re
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from data_modules.readers.features import open_features
from data_modules.readers.hdf5 import ATTRIBUTES_SUM, ROWS_SUM
from dreamprvr.core.errors import UserError
from dreamprvr.extraction.feature_file import (
    ExtractionSettings,
    FeatureFile,
    VideoFeatures,
    write_feature_file,
)

ONE = ExtractionSettings("one", "ab12", 4, 1.0, 2.0, 1.0)
SETTINGS = ExtractionSettings("colours", "ab12", 3, 2.0, 1.5, 1.0)


def video(name: str, rows: int = 2, **changes: object) -> VideoFeatures:
    values = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)
    made = VideoFeatures(
        name, 0.5, 2.25, Path("/videos/a.mp4"), 10**10, 7 * 10**18, "odd", rows=values
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def write(path: Path, *videos: VideoFeatures) -> Path:
    write_feature_file(path, SETTINGS, videos)
    return path


def test_written_videos_are_read_back(tmp_path: Path) -> None:
    strange = [
        video("b__ä ☃ #1", 5, warning=""),
        video("a", path=Path(os.fsdecode(b"/v/\xff.mp4"))),
    ]
    path = write(tmp_path / "new" / "f.hdf5", *strange)
    with FeatureFile(path) as file:
        assert file.settings == SETTINGS
        assert file.video_ids() == ["a", "b__ä ☃ #1"]
        for wanted in strange:
            read = file.read(wanted.video_id)
            assert read.rows.dtype == np.float32
            np.testing.assert_array_equal(read.rows, wanted.rows)
            others = {name: value for name, value in vars(wanted).items() if name != "rows"}
            assert {**vars(read), "rows": None} == {**others, "rows": None}
            assert vars(file.record(wanted.video_id)) == others


def test_training_reads_it_too(tmp_path: Path) -> None:
    store = open_features(write(tmp_path / "f.hdf5", video("a", 4)))
    assert store.keys() == ["a"]
    assert store.dim == 3
    assert store["a"].shape == (4, 3)


def test_the_file_opens_again_after_closing(tmp_path: Path) -> None:
    file = FeatureFile(write(tmp_path / "f.hdf5", video("a")))
    with file:
        pass
    assert file.read("a").rows.shape == (2, 3)
    file.close()


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = write(tmp_path / "f.hdf5", video("a"))
    before = path.read_bytes()
    with pytest.raises(UserError, match="two videos have the id 'b'"):
        write(path, video("b"), video("b"))
    wrong = video("b", rows=1)
    with pytest.raises(UserError, match=r"'b' has rows of shape \(1, 2\), not \(rows, 3\)"):
        write(path, replace(wrong, rows=wrong.rows[:, :2]))
    with pytest.raises(UserError, match=r"'b' has rows of shape \(0, 3\)"):
        write(path, video("b", rows=0))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["f.hdf5"]


def test_a_video_that_is_not_there(tmp_path: Path) -> None:
    with FeatureFile(write(tmp_path / "f.hdf5", video("a"))) as file:
        for name in ("b", "../a", "/a", ".", ""):
            with pytest.raises(UserError, match="has no video"):
                file.read(name)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "f.hdf5"
    with pytest.raises(UserError, match="is missing"):
        FeatureFile(path)
    path.write_bytes(b"text")
    with pytest.raises(UserError, match="is a text file, not an HDF5 file"):
        FeatureFile(path)
    with h5py.File(path, "w") as file:
        file["a"] = np.zeros((2, 3), "f4")
    with pytest.raises(UserError, match="no feature file of `lightning extract`"):
        FeatureFile(path)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("version", 2, "has version 2, and this program reads version 1"),
        ("version", "x", "no feature file"),
        ("fps", None, "no feature file"),
        ("fps", -1.0, "fps is -1.0"),
        ("window", [1.0, 2.0], "no feature file"),
        ("video_dim", 4, "rows of 3 numbers"),
    ],
)
def test_broken_root_attributes(tmp_path: Path, name: str, value: object, message: str) -> None:
    path = write(tmp_path / "f.hdf5", video("a"))
    with h5py.File(path, "r+") as file:
        file.attrs.pop(name)
        file.attrs.pop(ATTRIBUTES_SUM)
        if value is not None:
            file.attrs[name] = value
    with pytest.raises(UserError, match=message):
        FeatureFile(path)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("start", None, "cannot read 'a'"),
        ("start", "soon", "cannot read 'a'"),
        ("start", -1.0, "starts at -1.0"),
        ("duration", float("nan"), "ends at nan"),
        ("size", [1, 2], "cannot read 'a'"),
    ],
)
def test_broken_attributes_of_a_video(
    tmp_path: Path, name: str, value: object, message: str
) -> None:
    path = write(tmp_path / "f.hdf5", video("a"))
    with h5py.File(path, "r+") as file:
        file["a"].attrs.pop(name)
        file["a"].attrs.pop(ATTRIBUTES_SUM)
        if value is not None:
            file["a"].attrs[name] = value
    with FeatureFile(path) as file, pytest.raises(UserError, match=message):
        file.record("a")


def test_links_out_of_the_file_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "other.hdf5", video("secret"))
    path = write(tmp_path / "f.hdf5", video("a"))
    with h5py.File(path, "r+") as file:
        file["z"] = h5py.ExternalLink("other.hdf5", "secret")
    with FeatureFile(path) as file, pytest.raises(UserError, match="link to somewhere else"):
        file.read("z")


def test_changes_since_writing_are_noticed(tmp_path: Path) -> None:
    path = write(tmp_path / "f.hdf5", *(video(name) for name in "abcd"))
    with h5py.File(path, "r+") as file:
        file["a"][1, 1] = 7
        file["b"].attrs["start"] = 1.5
        file.move("c", "other")
    with FeatureFile(path) as file:
        for name in ("a", "b", "other"):
            with pytest.raises(UserError, match=rf"'{name}' \(its \w+ changed since they were"):
                file.read(name)
        assert file.read("d").rows.shape == (2, 3)
    for name in ("a", "other"):
        with pytest.raises(UserError, match="its values changed since they were written"):
            open_features(path)[name]
    with h5py.File(path, "r+") as file:
        file.attrs["window"] = 2.0
    with pytest.raises(UserError, match="its attributes changed since they were written"):
        FeatureFile(path)


def test_files_without_checksums_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "f.hdf5", video("a"))
    with h5py.File(path, "r+") as file:
        for held in (file.attrs, file["a"].attrs):
            for name in {ATTRIBUTES_SUM, ROWS_SUM} & set(held):
                del held[name]
    with FeatureFile(path) as file:
        assert file.read("a").start == 0.5


@pytest.mark.parametrize("name", ["fps", "window", "stride"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), 1e-300, 1e300])
def test_numbers_have_limits(name: str, value: float) -> None:
    numbers = {"fps": 1.0, "window": 1.0, "stride": 1.0, name: value}
    with pytest.raises(UserError, match=rf"^{name} is {re.escape(str(value))}; it must be"):
        ExtractionSettings("one", "ab12", 4, **numbers)


def test_differences_name_both_values() -> None:
    other = ExtractionSettings("one", "ab12", 4, 2.0, 2.0, 0.5)
    assert ONE.differences(other) == "fps 1.0, not 2.0, stride 1.0, not 0.5"


def test_a_model_may_have_moved() -> None:
    assert ONE.differences(ExtractionSettings("two", "ab12", 4, 1.0, 2.0, 1.0)) == ""


def test_another_encoder_is_named_rather_than_its_fingerprint() -> None:
    other = ExtractionSettings("two", "cd34", 4, 1.0, 2.0, 1.0)
    assert ONE.differences(other) == "encoder one, not two"
    retrained = ExtractionSettings("one", "cd34", 4, 1.0, 2.0, 1.0)
    assert ONE.differences(retrained) == "fingerprint ab12, not cd34"
