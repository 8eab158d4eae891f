"""The authors' checkpoints of HLFormer."""

from dreamprvr.models.published import (
    GAUSSIAN_ROOTS,
    SHARED_PARTS,
    SHARED_ROOTS,
    SHARED_SETTINGS,
    SHARED_SIZES,
    PublishedFormat,
)

LINEAR = r"\.lorentz_multiattention\.linear_(key|value|query)s?"

FORMAT = PublishedFormat(
    roots={
        **SHARED_ROOTS,
        r"(clip|frame)_encoder(?:_1)?\.e_attns\.": r"\1_encoder.branches.",
        r"(clip|frame)_encoder(?:_1)?\.h_attns\.": r"\1_encoder.lorentz_branches.",
        **GAUSSIAN_ROOTS,
        r"modular_vector_mapping_2\.": "order.frame_pooling.",
        r"modular_vector_mapping_3\.": "order.clip_pooling.",
        r"curv$": "order.log_curvature",
        r"textual_alpha$": "order.log_query_scale",
        r"video_alpha$": "order.log_video_scale",
    },
    parts={
        **SHARED_PARTS,
        r"\.(input|output)_proj\.": r".\1_projection.",
        LINEAR + r"\.weight\.": r".\1.linear.",
        LINEAR + r"\.scale$": r".\1.log_scale",
        r"\.lorentz_multiattention\.scale$": ".divisor",
        r"\.lorentz_multiattention\.bias$": ".bias",
        r"\.scale_alpha$": ".log_scale",
    },
    sizes={
        **SHARED_SIZES,
        "num_clips": ("clip_encoder.layer2.weight", 0),
        "max_frames": ("frame_encoder_1.layer2.weight", 0),
        "lorentz_size": ("clip_encoder.h_attns.0.self.input_proj.net.1.weight", 0),
    },
    settings={**SHARED_SETTINGS, "softmax_temperature": "sft_factor"},
    counts={"gaussian_widths": "clip_encoder.e_attns."},
    ignored=(r"(.*\.)?manifold\.k",),  # the fixed curvature 1, once for each module
)
