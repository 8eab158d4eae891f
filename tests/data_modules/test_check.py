from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest

from data_modules.base import FeatureSet, PRVRDataModule, SplitSize
from data_modules.check import check
from data_modules.features import FeatureStore
from data_modules.schema import QUERY_COLUMNS, VIDEO_COLUMNS, Annotations
from data_modules.synthetic import Synthetic
from data_modules.testing import write_tiny
from data_modules.world import WorldConfig


class Kitchen(PRVRDataModule):
    collection = "kitchen"
    feature_sets = {
        "standard": FeatureSet("FeatureData/v", "TextData/t.hdf5", 8, 6),
        "wide": FeatureSet("FeatureData/v", "TextData/t.hdf5", 9, 6),
    }
    expected = {"train": SplitSize(6, 12)}
    source = "Ask the cook."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny(Kitchen, tmp_path)


def kitchen(folder: Path, **options: Any) -> Kitchen:
    return Kitchen(folder.parent, num_workers=0, **options)


def video_file(folder: Path, mode: str = "a") -> h5py.File:
    return h5py.File(folder / "FeatureData" / "v" / "feature.hdf5", mode)


def test_sound_data(folder: Path):
    report = check(kitchen(folder))
    assert report.ok
    assert report.problems == []
    train = report.splits["train"]
    captions = (folder / "TextData" / "kitchentrain.caption.txt").read_text().splitlines()
    assert train is not None
    assert (train.videos, train.captions) == (6, len(captions))
    with video_file(folder) as file:
        lengths = [len(rows) for name, rows in file.items() if name.startswith("train")]
    assert train.rows == (min(lengths), np.mean(lengths), max(lengths))
    assert [feature.dim for feature in report.features] == [8, 6]
    assert report.splits["val"] is not None
    assert report.splits["val"].words == report.splits["test"].words  # type: ignore[union-attr]


def test_features_shared_by_splits_are_read_once(folder: Path):
    read: list[str] = []

    class Counting(FeatureStore):
        def __init__(self, store: FeatureStore) -> None:
            self.store, self.path, self.dim = store, store.path, store.dim

        def keys(self) -> list[str]:
            return self.store.keys()

        def _has(self, name: str) -> bool:
            return name in self.store

        def _shape(self, name: str) -> tuple[int, ...]:
            return self.store.rows(name), self.dim

        def _read(self, name: str) -> np.ndarray:
            read.append(name)
            return self.store[name]

    class Counted(Kitchen):
        def video_features(self) -> FeatureStore:
            return Counting(super().video_features())

    check(Counted(folder.parent))
    assert sorted(read) == sorted(kitchen(folder).video_features().keys())
    read.clear()
    check(Counted(folder.parent), splits=("val",))
    assert len(read) == 4


def test_words_over_the_limit_and_unlike_sizes(folder: Path):
    report = check(kitchen(folder, max_words=2))
    train = report.splits["train"]
    words = kitchen(folder).text_features()
    ids = kitchen(folder).annotations("train").queries["query_id"]
    assert train is not None
    assert train.too_long == sum(words.rows(name) > 2 for name in ids) > 0
    expected = f"train: 6 videos and {len(ids)} captions; published are 6 and 12"
    assert (expected in report.remarks) == (len(ids) != 12)


def test_everything_missing_is_one_report(tmp_path: Path):
    report = check(kitchen(tmp_path / "kitchen"))
    assert not report.ok
    text = tmp_path / "kitchen" / "TextData"
    assert report.problems == [
        f"missing captions: expected at {text / 'kitchentrain.caption.txt'}",
        f"missing text features: expected at {text / 't.hdf5'}",
        f"missing video features: expected at {tmp_path / 'kitchen' / 'FeatureData' / 'v'}",
        f"missing captions: expected at {text / 'kitchenval.caption.txt'}",
        f"missing captions: expected at {text / 'kitchentest.caption.txt'}",
    ]
    assert "Ask the cook." in report.remarks
    assert report.splits == {"train": None, "val": None, "test": None}


def test_it_goes_on_after_what_cannot_be_read(folder: Path):
    (folder / "TextData" / "kitchentrain.caption.txt").write_text("no-hash some text\n")
    (folder / "TextData" / "t.hdf5").write_bytes(b"not hdf5")
    with video_file(folder) as file:
        file["val-0"][:] = np.nan
        del file["val-1"]
        file["val-1"] = np.ones((3, 7))
        del file["val-2"]
        file["val-2"] = np.ones((0, 8))
        del file["val-3"]
    problems = check(kitchen(folder)).problems
    assert len(problems) == 6
    for part in (
        "line 1: caption id 'no-hash' is not",
        "t.hdf5 is no HDF5 file; it starts with the text 'not hdf5'",
        "video features: holds NaN or infinite values: 1 video (val-0) in ",
        "video features: has shape (3, 7), not (rows, 8): 1 video (val-1)",
        "video features: has no rows: 1 video (val-2)",
        "video features: no features: 1 video (val-3)",
    ):
        assert sum(part in problem for problem in problems) == 1, part


def test_wrong_width(folder: Path):
    report = check(kitchen(folder, features="wide"))
    assert len(report.problems) == 1
    assert report.problems[0].startswith("video features have size 8, but Kitchen expects 9: ")
    assert "--data.features standard|wide" in report.problems[0]


def test_equal_remarks_of_splits_are_one_line(folder: Path):
    remarks = [line for line in check(kitchen(folder)).remarks if "moment unknown" in line]
    assert [line.partition(":")[0] for line in remarks] == ["train", "val, test"]


def test_a_data_set_of_another_package_may_do_anything(folder: Path):
    class Strange(Kitchen):
        def read_annotations(self, split: str) -> Annotations:
            if split == "train":
                raise KeyError("missing column")
            videos = pd.DataFrame([("v", 1.0, split, "")], columns=VIDEO_COLUMNS)
            queries = pd.DataFrame([("q", None, None, None, split)], columns=QUERY_COLUMNS)
            return Annotations(videos, queries)

        def text_features(self) -> FeatureStore:
            return 3 / 0  # type: ignore[return-value]

    report = check(Strange(folder.parent))
    assert report.problems[:2] == [
        "KeyError: 'missing column'",
        "val, test: TypeError: 'NoneType' object is not iterable",
    ]
    assert "ZeroDivisionError: division by zero" in report.problems
    assert report.text()


def test_a_generated_benchmark_is_generated(tmp_path: Path):
    class Small(Synthetic):
        collection = "small"
        world = WorldConfig(train=3, val=2, test=2, video_dim=128, text_dim=96)
        feature_sets = {
            "standard": FeatureSet(
                "FeatureData/small", "TextData/roberta_small_query_feat.hdf5", 128, 96
            )
        }

    assert check(Small(tmp_path)).ok
    (tmp_path / "small" / "world.json").unlink()
    (tmp_path / "small" / "TextData" / "smallval.caption.txt").unlink()
    problems = check(Small(tmp_path)).problems
    assert any("were not generated" in problem for problem in problems)
