from dataclasses import replace
from pathlib import Path

import pytest

from data_modules.generation.world import WorldConfig
from data_modules.synthetic import Synthetic
from data_modules.testing import DataModuleContract


class Small(Synthetic):
    world = WorldConfig(train=8, val=4, test=5, video_dim=24, text_dim=20)
    feature_sets = {
        "standard": replace(Synthetic.feature_sets["standard"], video_dim=24, text_dim=20)
    }


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    Small(root).prepare_data()
    return root


class TestContract(DataModuleContract):
    """On the world that is generated once: `tmp_path` is not needed."""

    root: Path

    @pytest.fixture(autouse=True)
    def _once(self, root: Path) -> None:
        self.root = root

    def make(self, root: Path) -> Small:
        return Small(self.root, batch_size=3, eval_batch_size=3, num_workers=0)


def test_it_is_generated_once(root: Path):
    record = root / "synthetic" / "world.json"
    made = record.stat().st_mtime_ns
    Small(root).prepare_data()
    assert record.stat().st_mtime_ns == made


def test_splits_do_not_share_videos(root: Path):
    data = Small(root)
    ids = [set(data.annotations(split).videos["video_id"]) for split in ("train", "val", "test")]
    assert [len(names) for names in ids] == [8, 4, 5]
    assert len(set.union(*ids)) == 17


def test_sizes_are_those_of_the_world():
    data = Synthetic()
    assert (data.video_dim, data.text_dim) == (Synthetic.world.video_dim, Synthetic.world.text_dim)
