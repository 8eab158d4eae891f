"""Facts of the release; test_testing.py runs the contract on it."""

from pathlib import Path

import pytest

from data_modules.check import check
from data_modules.testing import write_tiny
from data_modules.tvr import TVR
from dreamprvr.errors import UserError


def test_sizes():
    assert (TVR().video_dim, TVR().text_dim) == (3072, 768)
    clip = TVR(features="clip")
    assert (clip.video_dim, clip.text_dim) == (512, 512)
    evaluation = (2_179, 10_895)
    assert TVR.expected == {"train": (17_435, 87_175), "val": evaluation, "test": evaluation}


@pytest.mark.parametrize("features", ["standard", "clip"])
def test_files_are_where_the_release_has_them(tmp_path: Path, features: str):
    write_tiny(TVR, tmp_path, features)
    data = TVR(tmp_path, features, num_workers=0)
    data.prepare_data()
    files = {str(path.relative_to(tmp_path)) for path in data.files("val").values()}
    assert (
        files
        == {
            "standard": {
                "tvr/TextData/tvrval.caption.txt",
                "tvr/TextData/roberta_tvr_query_feat.hdf5",
                "tvr/FeatureData/i3d_resnet",
            },
            "clip": {
                "tvr/TextData/tvrval.caption.txt",
                "tvr/TextData/clip_ViT_B_32_tvr_query_feat.hdf5",
                "tvr/FeatureData/new_clip_vit_32_tvr_vid_features.hdf5",
            },
        }[features]
    )


def test_a_small_copy_is_sound_but_remarked_on(tmp_path: Path):
    write_tiny(TVR, tmp_path)
    report = check(TVR(tmp_path))
    assert report.ok
    assert any("published are 17,435 and" in line for line in report.remarks)


def test_missing_files_come_with_a_source(tmp_path: Path):
    with pytest.raises(UserError, match=r"tvr: missing captions: .*HuiGuanLab/ms-sl"):
        TVR(tmp_path).prepare_data()
