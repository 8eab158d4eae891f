"""Facts of the release; test_testing.py runs the contract on it."""

from releases import Release

from data_modules.activitynet import ActivityNet
from data_modules.base import SplitSize


class TestActivityNet(Release):
    dataset = ActivityNet
    sizes = (1024, 1024)
    train, evaluation = SplitSize(9_043, 33_721), SplitSize(4_430, 15_753)
    files = {
        "standard": ("roberta_activitynet_query_feat.hdf5", "i3d"),
        "clip": (
            "clip_ViT_B_32_activitynet_query_feat.hdf5",
            "new_clip_vit_32_activitynet_vid_features.hdf5",
        ),
    }
