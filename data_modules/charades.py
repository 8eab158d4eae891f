"""Charades-STA: half-minute videos of acted household activities."""

from data_modules.base import FeatureSet, PRVRDataModule, SplitSize


class Charades(PRVRDataModule):
    """Charades-STA (Gao et al., ICCV 2017): videos of about thirty seconds.

    Standard features: I3D (1024-d) and RoBERTa fine-tuned on the captions (1024-d), as released
    with MS-SL (Dong et al., ACM MM 2022).
    """

    collection = "charades"
    feature_sets = {
        "standard": FeatureSet(
            video="FeatureData/i3d_rgb_lgi",
            text="TextData/roberta_charades_query_feat.hdf5",
            video_dim=1024,
            text_dim=1024,
        ),
        "clip": FeatureSet(
            video="FeatureData/new_clip_vit_32_charades_vid_features.hdf5",
            text="TextData/clip_ViT_B_32_charades_query_feat.hdf5",
            video_dim=512,
            text_dim=512,
        ),
    }
    expected = {
        "train": SplitSize(5_338, 12_408),
        "val": SplitSize(1_334, 3_720),
        "test": SplitSize(1_334, 3_720),
    }
    source = "The MS-SL repository (HuiGuanLab/ms-sl) links the features and captions of Charades."
