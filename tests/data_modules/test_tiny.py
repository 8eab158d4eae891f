from pathlib import Path

import numpy as np
import pytest

from data_modules.base import FeatureSet, PRVRDataModule
from data_modules.captions import read_captions
from data_modules.testing import write_tiny, write_tiny_benchmark


class Small(PRVRDataModule):
    collection = "small"
    feature_sets = {"standard": FeatureSet("FeatureData/v", "TextData/t.hdf5", 8, 6)}


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
    write_tiny_benchmark(
        tmp_path, "small", "FeatureData/v.hdf5", "TextData/t.hdf5", 8, 6,
        group=group, one_vector=True, caption_ids="{video}#{number}",
    )  # fmt: skip

    class Other(Small):
        feature_sets = {
            "standard": FeatureSet("FeatureData/v.hdf5", "TextData/t.hdf5", 8, 6, group)
        }

    videos, words = Other(tmp_path).stores()
    assert videos["train-0"].shape[1] == 8
    assert words["train-0#enc#0"].shape == (1, 6)
    assert "train-0#0" in words.keys()  # noqa: SIM118 - no mapping
