"""Facts of the release; test_testing.py runs the contract on it."""

from releases import Release

from data_modules.base import SplitSize
from data_modules.tvr import TVR


class TestTVR(Release):
    dataset = TVR
    sizes = (3072, 768)
    train, evaluation = SplitSize(17_435, 87_175), SplitSize(2_179, 10_895)
    files = {
        "standard": ("roberta_tvr_query_feat.hdf5", "i3d_resnet"),
        "clip": (
            "clip_ViT_B_32_tvr_query_feat.hdf5",
            "new_clip_vit_32_tvr_vid_features.hdf5",
        ),
    }
