"""The authors' checkpoints of DreamPRVR."""

from dreamprvr.models.published import (
    GAUSSIAN_ROOTS,
    SHARED_PARTS,
    SHARED_ROOTS,
    SHARED_SETTINGS,
    SHARED_SIZES,
    PublishedFormat,
)

FORMAT = PublishedFormat(
    roots={
        **SHARED_ROOTS,
        r"(clip|frame)_encoder\.e_attns\.": r"\1_encoder.branches.",
        **GAUSSIAN_ROOTS,
        r"(clip|frame)_encoder\.noise_input_layer\.": r"\1_encoder.register_projection.",
        r"mean_clip_encoder\.": "register_sampler.summary.",
        r"video_qformer\.cross_attention\.": "register_sampler.conditioning.",
        r"video_qformer\.": "register_sampler.",
        r"video_probabilistic_variational_sampler\.": "register_sampler.variational.",
        r"diffusion_mlp\.": "register_sampler.denoiser.",
    },
    parts={
        **SHARED_PARTS,
        # variational sampler
        r"\.gpo\.gru\.": ".pooling.gru.",
        r"\.gpo\.linear\.": ".pooling.score.",
        r"\.pie_net_video\.attention\.w_(\d)": r".mean_pooling.w\1",
        r"\.pie_net_video\.fc\.": ".mean_linear.",
        r"\.pie_net_video\.layer_norm\.": ".mean_norm.",
        r"\.uncertain_net_video\.attention\.w_(\d)": r".variance_pooling.w\1",
        r"\.uncertain_net_video\.fc\.": ".variance_linear.",
        r"\.uncertain_net_video\.fc2\.": ".variance_global.",
        # denoiser (the published names spell "block" so)
        r"\.time_embedding\.timembedding\.0\.": ".time.table.",
        r"\.time_embedding\.timembedding\.1\.": ".time.expand.",
        r"\.time_embedding\.timembedding\.3\.": ".time.contract.",
        r"\.cond_embedding\.0\.": ".condition_norm.",
        r"\.cond_embedding\.2\.": ".condition_linear.",
        r"\.layers\.": ".blocks.",
        r"\.blcok_in\.0\.": ".norm_in.",
        r"\.blcok_in\.2\.": ".linear_in.",
        r"\.temb_proj\.1\.": ".time.",
        r"\.cond_proj\.1\.": ".condition.",
        r"\.blcok_out\.0\.": ".norm_out.",
        r"\.blcok_out\.3\.": ".linear_out.",
        r"\.blocks\.(\d+)\.short_cut\.": r".blocks.\1.shortcut.",
        r"\.denoiser\.short_cut\.": ".denoiser.output.",
    },
    sizes={
        **SHARED_SIZES,
        "num_clips": ("clip_encoder.layer2.weight", 0),
        "max_frames": ("frame_encoder.layer2.weight", 0),
        "num_registers": ("video_qformer.query_tokens", 1),
        "diffusion_steps": ("diffusion_mlp.time_embedding.timembedding.0.weight", 0),
    },
    settings={**SHARED_SETTINGS, "softmax_temperature": "sft_factor"},
    counts={
        "gaussian_widths": "clip_encoder.e_attns.",
        "denoiser_blocks": "diffusion_mlp.layers.",
    },
    absent={"num_registers": ("video_qformer.", "diffusion_mlp.")},
)
