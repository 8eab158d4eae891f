"""The contract holds for the shipped benchmarks, and fails for broken ones.

Every promise about a batch is really checked: break one, and it is named.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from data_modules.activitynet import ActivityNet
from data_modules.base import FeatureSet, PRVRDataModule
from data_modules.charades import Charades
from data_modules.readers.captions import read_captions
from data_modules.readers.store import FeatureStore
from data_modules.readers.tables import QUERY_COLUMNS, VIDEO_COLUMNS, Annotations
from data_modules.testing import DataModuleContract, check_train_batch, write_tiny
from data_modules.tvr import TVR
from dreamprvr.core.batch import TrainBatch

SHORT_IDS = "{video}#{number}"


class TestTVR(DataModuleContract):
    dataset = TVR


class TestTVRClip(DataModuleContract):
    dataset, features = TVR, "clip"
    options = {"one_vector": True, "caption_ids": SHORT_IDS}


class TestActivityNet(DataModuleContract):
    dataset = ActivityNet
    options = {"caption_ids": SHORT_IDS, "captions": 27}


class TestActivityNetClip(DataModuleContract):
    dataset, features = ActivityNet, "clip"
    options = {"one_vector": True}


class TestCharades(DataModuleContract):
    dataset = Charades
    # longer than the network reads, so both are cut
    options = {"max_rows": 300, "max_words": 60}


class TestCharadesClip(DataModuleContract):
    dataset, features = Charades, "clip"
    options = {"one_vector": True, "caption_ids": SHORT_IDS}


class Small(PRVRDataModule):
    collection = "small"
    feature_sets = {"standard": FeatureSet("FeatureData/v", "TextData/t.hdf5", 8, 6)}


class TestGroupedFile(DataModuleContract):
    class dataset(Small):
        feature_sets = {
            "standard": FeatureSet("FeatureData/v.hdf5", "TextData/t.hdf5", 8, 6, "i3d_feat")
        }


class Arrays(FeatureStore):
    """A folder of .npy files."""

    def __init__(self, path: Path, dim: int) -> None:
        self.path, self.dim = path, dim

    def keys(self) -> list[str]:
        return [file.stem for file in self.path.glob("*.npy")]

    def has(self, name: str) -> bool:
        return (self.path / f"{name}.npy").exists()

    def shape_of(self, name: str) -> tuple[int, ...]:
        return self.load(name).shape

    def load(self, name: str) -> np.ndarray:
        return np.load(self.path / f"{name}.npy")


class OtherForm(Small):
    """One JSON file of all captions, and a folder of arrays."""

    collection = "other"

    def files(self, split: str) -> dict[str, Path]:
        return {"captions": self.folder / "all.json", "features": self.folder}

    def read_annotations(self, split: str) -> Annotations:
        videos, queries = json.loads(self.files(split)["captions"].read_text())[split]
        rows = [(name, tuple(ids), text, ((0.0, 2.5),), split) for name, ids, text in queries]
        return Annotations(
            pd.DataFrame([(name, 9.0, split, "") for name in videos], columns=VIDEO_COLUMNS),
            pd.DataFrame(rows, columns=QUERY_COLUMNS),
        )

    def video_features(self) -> FeatureStore:
        return Arrays(self.folder, self.video_dim)

    def text_features(self) -> FeatureStore:
        return Arrays(self.folder, self.text_dim)


class TestOtherForm(DataModuleContract):
    def make(self, root: Path) -> PRVRDataModule:
        data = OtherForm(root, batch_size=1, num_workers=0)
        data.folder.mkdir()
        content = (["a", "b"], [("q0", ["b"], "one"), ("q1", ["a", "b"], "two")])
        data.files("val")["captions"].write_text(
            json.dumps(dict.fromkeys(("train", "val", "test"), content))
        )
        for name, shape in {"a": (3, 8), "b": (50, 8), "q0": (4, 6), "q1": (1, 6)}.items():
            np.save(data.folder / f"{name}.npy", np.ones(shape, np.float32))
        return data


@pytest.fixture
def data(tmp_path: Path) -> Small:
    write_tiny(Small, tmp_path, max_rows=3)
    return Small(tmp_path, num_workers=0, max_frames=8, num_clips=4, max_words=5)


@pytest.fixture
def batch(data: Small) -> TrainBatch:
    return next(iter(data.train_dataloader()))


def test_a_sound_batch(data: Small, batch: TrainBatch):
    check_train_batch(batch, data, 6)
    with pytest.raises(AssertionError, match=r"positives are not in -1 \.\. 4"):
        check_train_batch(batch, data, 5)


def put(value: float, *place: Any) -> Callable[[Tensor], Tensor]:
    def change(tensor: Tensor) -> Tensor:
        tensor = tensor.clone()
        tensor[place] = value
        return tensor

    return change


CHANGES: list[tuple[str, str, Callable[[Tensor], Tensor], str]] = [
    ("videos", "row", Tensor.int, r"row is torch\.int32, not torch\.int64"),
    ("videos", "clips", lambda t: t[:, 1:], r"clips has shape \(6, 3, 8\), not \(6, 4, 8\)"),
    ("videos", "clips", lambda t: t * 1.5, "clips have norms from 1.500 to 1.500"),
    ("videos", "frames", Tensor.double, r"frames is torch\.float64"),
    ("videos", "frames", put(1, 0, -1), "frames behind the end are not zero"),
    ("videos", "frames", lambda t: t * 0.9, "frames have norms"),
    ("videos", "frame_mask", put(0.5, 0, 0), "more than 0 and 1"),
    ("videos", "frame_mask", put(0, 0), "hides everything"),
    ("videos", "frame_mask", put(1, 0, -1), "ones, then zeros"),
    ("queries", "words", lambda t: t[..., 1:], "words has shape"),
    ("queries", "words", lambda t: t * 1.5, "words have norms"),
    ("queries", "word_mask", Tensor.bool, r"word_mask is torch\.bool"),
    ("queries", "word_mask", put(0, 0), "hides everything"),
    ("queries", "positives", put(99, 0), "positives are not in"),
    ("queries", "positives", put(-1, 0), "no true video in its first place"),
    ("queries", "positives", lambda t: (t + 1) % 6, "not among its query's positives"),
    (
        "queries",
        "positives",
        lambda t: torch.cat([t, torch.full_like(t, -1), t], dim=1),
        "padding .* comes before",
    ),
    ("", "labels", Tensor.float, r"labels is torch\.float32"),
    ("", "labels", lambda t: t.flip(0), "labels are not sorted"),
    ("", "labels", lambda t: t.clamp(max=4), r"labels name videos \[0, 1, 2, 3, 4\] of 6"),
]


@pytest.mark.parametrize(("part", "name", "change", "message"), CHANGES)
def test_a_broken_contract_is_named(
    data: Small,
    batch: TrainBatch,
    part: str,
    name: str,
    change: Callable[[Tensor], Tensor],
    message: str,
):
    inner: Any = getattr(batch, part) if part else batch
    changed = inner._replace(**{name: change(getattr(inner, name))})
    with pytest.raises(AssertionError, match=message):
        check_train_batch(batch._replace(**{part: changed}) if part else changed, data, 6)


def test_too_many_words(data: Small, batch: TrainBatch):
    data.sizes = data.sizes._replace(max_words=2)
    with pytest.raises(AssertionError, match="at most max_words"):
        check_train_batch(batch, data, 6)


def test_the_same_seed_gives_the_same_files(tmp_path: Path):
    stores = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_tiny(Small, tmp_path / name, seed=seed)
        stores.append(Small(tmp_path / name).video_features())
    assert np.array_equal(stores[0]["train-0"], stores[1]["train-0"])
    assert not np.array_equal(stores[0]["train-0"][:1], stores[2]["train-0"][:1])


def test_sizes_and_layout(tmp_path: Path):
    write_tiny(Small, tmp_path, train=5, val=3, captions=2, max_rows=4, max_words=2)
    data = Small(tmp_path)
    videos, words = data.stores()
    for split, count in {"train": 5, "val": 3, "test": 3}.items():
        table = data.annotations(split)
        assert len(table.videos) == count
        assert count <= len(table.queries) <= 2 * count
        assert all(1 <= videos.rows(name) <= 4 for name in table.videos["video_id"])
        assert all(1 <= words.rows(name) <= 2 for name in table.queries["query_id"])
    captions = [read_captions(data.caption_file(split)) for split in ("val", "test")]
    assert captions[0].equals(captions[1])


@pytest.mark.parametrize("group", [None, "i3d_feat"])
def test_one_file_and_one_vector_a_caption(tmp_path: Path, group: str | None):
    class Other(Small):
        feature_sets = {
            "standard": FeatureSet("FeatureData/v.hdf5", "TextData/t.hdf5", 8, 6, group)
        }

    write_tiny(Other, tmp_path, one_vector=True, caption_ids="{video}#{number}")
    videos, words = Other(tmp_path).stores()
    assert videos["train-0"].shape[1] == 8
    assert words["train-0#enc#0"].shape == (1, 6)
    assert "train-0#0" in words.keys()  # noqa: SIM118 - no mapping
