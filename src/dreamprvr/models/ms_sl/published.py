"""The authors' checkpoints of MS-SL."""

from collections import OrderedDict

from dreamprvr.models.published import SHARED_ROOTS, SHARED_SETTINGS, SHARED_SIZES, PublishedFormat

FORMAT = PublishedFormat(
    roots={
        **SHARED_ROOTS,
        r"(clip|frame)_encoder\.": r"\1_block.",
        r"mapping_linear\.0\.": "key.",
        r"mapping_linear\.1\.": "value.",
    },
    state_key="model",
    config_key="model_cfg",
    sizes={
        **SHARED_SIZES,
        "max_frames": ("frame_pos_embed.position_embeddings.weight", 0),
    },
    settings=SHARED_SETTINGS,
    foreign={"easydict.EasyDict": OrderedDict},
)
