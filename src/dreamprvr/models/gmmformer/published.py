"""The authors' checkpoints of GMMFormer."""

from dreamprvr.models.published import SHARED_ROOTS, SHARED_SETTINGS, SHARED_SIZES, PublishedFormat

FORMAT = PublishedFormat(
    roots={
        **SHARED_ROOTS,
        r"modular_vector_mapping_2\.": "frame_pooling.",
        r"clip_encoder\.attn(\d)\.": r"clip_encoder.first.\1.",
        r"clip_encoder_2\.attn(\d)\.": r"clip_encoder.second.\1.",
        r"frame_encoder_1\.attn(\d)\.": r"frame_encoder.first.\1.",
        r"frame_encoder_2\.attn(\d)\.": r"frame_encoder.second.\1.",
    },
    sizes={
        **SHARED_SIZES,
        "max_frames": ("frame_pos_embed.position_embeddings.weight", 0),
    },
    settings={**SHARED_SETTINGS, "num_clips": "map_size"},
    counts={"gaussian_widths": "clip_encoder.attn"},
)
