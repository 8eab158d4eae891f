"""ActivityNet Captions: long YouTube videos with dense captions."""

from data_modules.base import FeatureSet, PRVRDataModule, SplitSize


class ActivityNet(PRVRDataModule):
    """ActivityNet Captions (Krishna et al., ICCV 2017): videos of about two minutes.

    Standard features: I3D (1024-d) and RoBERTa fine-tuned on the captions (1024-d), as released
    with MS-SL (Dong et al., ACM MM 2022). Evaluated on val_1 without 487 lost videos.
    """

    collection = "activitynet"
    feature_sets = {
        "standard": FeatureSet(
            video="FeatureData/i3d",
            text="TextData/roberta_activitynet_query_feat.hdf5",
            video_dim=1024,
            text_dim=1024,
        ),
        "clip": FeatureSet(
            video="FeatureData/new_clip_vit_32_activitynet_vid_features.hdf5",
            text="TextData/clip_ViT_B_32_activitynet_query_feat.hdf5",
            video_dim=512,
            text_dim=512,
        ),
    }
    expected = {
        "train": SplitSize(9_043, 33_721),
        "val": SplitSize(4_430, 15_753),
        "test": SplitSize(4_430, 15_753),
    }
    source = (
        "The MS-SL repository (HuiGuanLab/ms-sl) links the features and captions of ActivityNet."
    )
