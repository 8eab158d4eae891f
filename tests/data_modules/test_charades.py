"""Facts of the release; test_testing.py runs the contract on it."""

from pathlib import Path

import pytest

from data_modules.charades import Charades
from data_modules.check import check
from data_modules.testing import write_tiny
from dreamprvr.errors import UserError


def test_sizes():
    assert (Charades().video_dim, Charades().text_dim) == (1024, 1024)
    clip = Charades(features="clip")
    assert (clip.video_dim, clip.text_dim) == (512, 512)
    evaluation = (1_334, 3_720)
    assert Charades.expected == {"train": (5_338, 12_408), "val": evaluation, "test": evaluation}


@pytest.mark.parametrize("features", ["standard", "clip"])
def test_files_are_where_the_release_has_them(tmp_path: Path, features: str):
    write_tiny(Charades, tmp_path, features)
    data = Charades(tmp_path, features, num_workers=0)
    data.prepare_data()
    files = {str(path.relative_to(tmp_path)) for path in data.files("val").values()}
    assert (
        files
        == {
            "standard": {
                "charades/TextData/charadesval.caption.txt",
                "charades/TextData/roberta_charades_query_feat.hdf5",
                "charades/FeatureData/i3d_rgb_lgi",
            },
            "clip": {
                "charades/TextData/charadesval.caption.txt",
                "charades/TextData/clip_ViT_B_32_charades_query_feat.hdf5",
                "charades/FeatureData/new_clip_vit_32_charades_vid_features.hdf5",
            },
        }[features]
    )


def test_a_small_copy_is_sound_but_remarked_on(tmp_path: Path):
    write_tiny(Charades, tmp_path)
    report = check(Charades(tmp_path))
    assert report.ok
    assert any("published are 5,338 and" in line for line in report.remarks)


def test_missing_files_come_with_a_source(tmp_path: Path):
    with pytest.raises(UserError, match=r"charades: missing captions: .*HuiGuanLab/ms-sl"):
        Charades(tmp_path).prepare_data()
