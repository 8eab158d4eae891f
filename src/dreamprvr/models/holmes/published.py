"""The authors' checkpoints of Holmes."""

from dreamprvr.models.published import (
    GAUSSIAN_ROOTS,
    SHARED_ROOTS,
    SHARED_SETTINGS,
    SHARED_SIZES,
    PublishedFormat,
)

FORMAT = PublishedFormat(
    roots={
        **SHARED_ROOTS,
        r"(clip|frame)_encoder(?:_1)?\.e_attns\.": r"\1_encoder.branches.",
        **GAUSSIAN_ROOTS,
        r"weight_token": "token",
    },
    sizes={
        **SHARED_SIZES,
        "num_clips": ("clip_encoder.layer2.weight", 0),
        "max_frames": ("frame_encoder_1.layer2.weight", 0),
    },
    settings={**SHARED_SETTINGS, "softmax_temperature": "sft_factor"},
    counts={"gaussian_widths": "clip_encoder.e_attns."},
)
