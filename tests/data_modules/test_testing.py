"""The contract holds for the shipped benchmarks, and fails for broken ones."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from data_modules.activitynet import ActivityNet
from data_modules.base import FeatureSet, PRVRDataModule
from data_modules.charades import Charades
from data_modules.features import FeatureStore
from data_modules.schema import QUERY_COLUMNS, VIDEO_COLUMNS, Annotations
from data_modules.testing import DataModuleContract
from data_modules.tvr import TVR

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

    def _has(self, name: str) -> bool:
        return (self.path / f"{name}.npy").exists()

    def _shape(self, name: str) -> tuple[int, ...]:
        return self._read(name).shape

    def _read(self, name: str) -> np.ndarray:
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
