"""Facts of the release; test_testing.py runs the contract on it."""

from pathlib import Path

import pytest

from data_modules.activitynet import ActivityNet
from data_modules.check import check
from data_modules.testing import write_tiny
from dreamprvr.errors import UserError


def test_sizes():
    assert (ActivityNet().video_dim, ActivityNet().text_dim) == (1024, 1024)
    clip = ActivityNet(features="clip")
    assert (clip.video_dim, clip.text_dim) == (512, 512)
    evaluation = (4_430, 15_753)
    assert ActivityNet.expected == {"train": (9_043, 33_721), "val": evaluation, "test": evaluation}


@pytest.mark.parametrize("features", ["standard", "clip"])
def test_files_are_where_the_release_has_them(tmp_path: Path, features: str):
    write_tiny(ActivityNet, tmp_path, features)
    data = ActivityNet(tmp_path, features, num_workers=0)
    data.prepare_data()
    files = {str(path.relative_to(tmp_path)) for path in data.files("val").values()}
    assert (
        files
        == {
            "standard": {
                "activitynet/TextData/activitynetval.caption.txt",
                "activitynet/TextData/roberta_activitynet_query_feat.hdf5",
                "activitynet/FeatureData/i3d",
            },
            "clip": {
                "activitynet/TextData/activitynetval.caption.txt",
                "activitynet/TextData/clip_ViT_B_32_activitynet_query_feat.hdf5",
                "activitynet/FeatureData/new_clip_vit_32_activitynet_vid_features.hdf5",
            },
        }[features]
    )


def test_a_small_copy_is_sound_but_remarked_on(tmp_path: Path):
    write_tiny(ActivityNet, tmp_path)
    report = check(ActivityNet(tmp_path))
    assert report.ok
    assert any("published are 9,043 and" in line for line in report.remarks)


def test_missing_files_come_with_a_source(tmp_path: Path):
    with pytest.raises(UserError, match=r"activitynet: missing captions: .*HuiGuanLab/ms-sl"):
        ActivityNet(tmp_path).prepare_data()
