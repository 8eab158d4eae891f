import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest

from data_modules.base import FeatureSet, PRVRDataModule, SplitSize
from data_modules.checking.check import (
    attempt,
    captions_per_video,
    check,
    error_line,
    scan,
    table_problems,
    table_remarks,
)
from data_modules.generation.world import WorldConfig
from data_modules.readers.hdf5 import Hdf5Features
from data_modules.readers.store import FeatureStore
from data_modules.readers.tables import QUERY_COLUMNS, VIDEO_COLUMNS, Annotations
from data_modules.synthetic import Synthetic
from data_modules.testing import write_tiny
from dreamprvr.core.errors import UserError


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

        def has(self, name: str) -> bool:
            return name in self.store

        def shape_of(self, name: str) -> tuple[int, ...]:
            return self.store.rows(name), self.dim

        def load(self, name: str) -> np.ndarray:
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


def test_the_check_continues_after_unreadable_data(folder: Path):
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
        "t.hdf5 is a text file, not an HDF5 file",
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
        "Strange.read_annotations: KeyError: 'missing column'",
        "val, test: the tables of Strange.read_annotations: TypeError: 'NoneType' object is not "
        "iterable",
    ]
    assert "Strange.text_features: ZeroDivisionError: division by zero" in report.problems
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
    (tmp_path / "small" / "TextData" / "small_videos.csv").unlink()
    problems = check(Small(tmp_path)).problems
    assert any("were not generated" in problem for problem in problems)


ROWS = np.ones((3, 2), np.float32)


def store(path: Path, **datasets: np.ndarray) -> Hdf5Features:
    with h5py.File(path, "w") as file:
        for name, rows in datasets.items():
            file[name] = rows
    return Hdf5Features(path)


def test_lengths_and_zero_rows(tmp_path: Path):
    gap = ROWS.copy()
    gap[[0, 2]] = 0
    features = store(tmp_path / "f", a=ROWS, b=gap, c=ROWS[0])
    found = scan(features, ["a", "b", "c"], "video")
    assert found.lengths == {"a": 3, "b": 3, "c": 1}
    assert found.problems == []
    assert found.remarks == [f"2 all-zero rows: 1 video (b) in {tmp_path / 'f'}"]


def test_equal_faults_are_one_line(tmp_path: Path):
    wrong = {f"w{i}": np.ones((i, 3)) for i in range(1, 8)}
    bad = {"n": ROWS * np.nan, "i": ROWS * np.inf, "e": ROWS[:0]}
    features = store(tmp_path / "f", a=ROWS, **wrong, **bad)
    found = scan(features, ["a", *wrong, *bad, "lost#0"], "caption")
    assert found.lengths == {"a": 3}
    where = f"in {tmp_path / 'f'}"
    assert found.problems == [
        f"has shape (1, 3), not (rows, 2): 7 captions (w1, w2, w3, w4, w5, ...) {where}",
        f"holds NaN or infinite values: 2 captions (n, i) {where}",
        f"has no rows: 1 caption (e) {where}",
        f"no features: 1 caption (lost#0) {where}",
    ]


def test_damaged_entries(tmp_path: Path):
    path = tmp_path / "f"
    with h5py.File(path, "w") as file:
        file["a"] = ROWS
        for name in "bc":
            file.create_dataset(name, data=np.ones((500, 2)), chunks=(500, 2), compression="gzip")
        offsets = [file[name].id.get_chunk_info(0).byte_offset for name in "bc"]
    broken = bytearray(path.read_bytes())
    for offset in offsets:
        broken[offset : offset + 20] = bytes(20)
    path.write_bytes(bytes(broken))
    found = scan(Hdf5Features(path), ["a", "b", "c"], "video")
    assert found.lengths == {"a": 3}
    assert len(found.problems) == 1
    assert "cannot read" in found.problems[0]
    assert ": 2 videos (b, c) in " in found.problems[0]


@pytest.mark.parametrize(("stored", "asked"), [("v#enc#0", "v#0"), ("v#0", "v#enc#0")])
def test_features_that_no_split_uses_are_named(tmp_path: Path, stored: str, asked: str):
    features = store(tmp_path / "f", **{stored: ROWS, "other": ROWS})
    found = scan(features, [asked], "caption")
    assert found.remarks == [
        f"features that no split checked uses: 1 caption (other) in {tmp_path / 'f'}"
    ]


def test_attempt():
    problems: list[str] = []
    assert attempt(lambda: 3, problems) == 3
    assert attempt(lambda: {}["x"], problems) is None
    assert problems == ["KeyError: 'x'"]


def test_errors_become_one_line():
    assert error_line(UserError("a\n b")) == "a b"
    assert error_line(ValueError("a\nb")) == "ValueError: a b"


MOMENT = ((1.0, 2.0),)


def table(videos: list[tuple[object, float]], queries: list[tuple[object, ...]]) -> Annotations:
    """Videos as (id, duration), captions as (id, videos, text, moments)."""
    return Annotations(
        pd.DataFrame([(*video, "val", "") for video in videos], columns=VIDEO_COLUMNS),
        pd.DataFrame([(*query, "val") for query in queries], columns=QUERY_COLUMNS),
    )


VIDEOS = [("v", 9.0), ("w", math.nan)]
QUERIES = [("v#enc#0", ("v",), "one", MOMENT), ("w#enc#0", ("w", "v"), "one", MOMENT)]


def test_sound_tables():
    sound = table(VIDEOS, [QUERIES[0], ("w#enc#0", ("w", "v"), "two", MOMENT)])
    assert table_problems(sound) == []
    assert table_remarks(sound) == []
    assert captions_per_video(sound) == (1, 1.5, 2)
    assert captions_per_video(table([("v", 9.0), ("x", 1.0)], QUERIES[:1])) == (0, 0.5, 1)


@pytest.mark.parametrize(
    ("videos", "queries", "problem"),
    [
        ([*VIDEOS, ("v", 3.0)], QUERIES, "ids used twice: 1 video (v)"),
        (VIDEOS, [*QUERIES, QUERIES[0]], "ids used twice: 1 caption (v#enc#0)"),
        (VIDEOS, [*QUERIES, ("v#0", ("v",), "x", ())], "ids used twice: 1 caption (v#enc#0)"),
        (VIDEOS, [*QUERIES, ("q", (), "x", ())], "no true video: 1 caption (q)"),
        (
            VIDEOS,
            [*QUERIES, ("q", ("v", "lost"), "x", ())],
            "captions name videos that are not in the video table: 1 video (lost)",
        ),
        ([*VIDEOS, (7, 1.0)], QUERIES, "ids must be strings: 1 video (7)"),
        (VIDEOS, [*QUERIES, (7, ("v",), "x", ())], "ids must be strings: 1 caption (7)"),
    ],
)
def test_problems(
    videos: list[tuple[object, float]], queries: list[tuple[object, ...]], problem: str
):
    assert table_problems(table(videos, queries)) == [problem]


@pytest.mark.parametrize(
    ("videos", "query", "remark"),
    [
        (VIDEOS, ("q", ("v",), " ", MOMENT), "empty text: 1 caption (q)"),
        (VIDEOS, ("q", ("v",), "one", MOMENT), "the same text twice for one video: 1 video (v)"),
        (
            VIDEOS,
            ("q", ("v",), "x", ()),
            "moment unknown: 1 caption (only results by moment length need it)",
        ),
        (VIDEOS, ("q", ("v",), "x", ((1.0, 9.1),)), "moment ends after its video: 1 caption (q)"),
        (VIDEOS, ("q", ("v",), "x", ((2.0, 1.0),)), "moment ends before it starts: 1 caption (q)"),
        (
            [*VIDEOS, ("x", 1.0)],
            ("q", ("v",), "x", MOMENT),
            "no caption, so every query that finds it is wrong: 1 video (x)",
        ),
    ],
)
def test_remarks(videos: list[tuple[object, float]], query: tuple[object, ...], remark: str):
    queries = [QUERIES[0], ("w#enc#0", ("w",), "two", ((1.0, 1e9),)), query]
    assert table_remarks(table(videos, queries)) == [remark]
