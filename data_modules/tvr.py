"""TVR: TV show clips with dialogue-aware captions."""

from data_modules.base import FeatureSet, PRVRDataModule, SplitSize


class TVR(PRVRDataModule):
    """TVR (Lei et al., ECCV 2020): 21.8 K clips of six TV shows, each with five captions.

    Standard features: ResNet-152 + I3D at 1.5 s (3072-d) and RoBERTa fine-tuned on the captions
    (768-d), as released with MS-SL (Dong et al., ACM MM 2022). Reported on the validation split.
    """

    collection = "tvr"
    feature_sets = {
        "standard": FeatureSet(
            video="FeatureData/i3d_resnet",
            text="TextData/roberta_tvr_query_feat.hdf5",
            video_dim=3072,
            text_dim=768,
        ),
        "clip": FeatureSet(
            video="FeatureData/new_clip_vit_32_tvr_vid_features.hdf5",
            text="TextData/clip_ViT_B_32_tvr_query_feat.hdf5",
            video_dim=512,
            text_dim=512,
        ),
    }
    expected = {
        "train": SplitSize(17_435, 87_175),
        "val": SplitSize(2_179, 10_895),
        "test": SplitSize(2_179, 10_895),
    }
    source = "The MS-SL repository (HuiGuanLab/ms-sl) links the features and captions of TVR."
