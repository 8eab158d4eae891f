"""Facts of the release; test_testing.py runs the contract on it."""

from releases import Release

from data_modules.base import SplitSize
from data_modules.charades import Charades


class TestCharades(Release):
    dataset = Charades
    sizes = (1024, 1024)
    train, evaluation = SplitSize(5_338, 12_408), SplitSize(1_334, 3_720)
    files = {
        "standard": ("roberta_charades_query_feat.hdf5", "i3d_rgb_lgi"),
        "clip": (
            "clip_ViT_B_32_charades_query_feat.hdf5",
            "new_clip_vit_32_charades_vid_features.hdf5",
        ),
    }
