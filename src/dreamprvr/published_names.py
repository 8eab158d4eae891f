"""Parameter names: the published implementation's and ours, one for one."""

import re

# A published name is translated by the first pattern that matches its beginning, then every part
# in the second table. Both tables are read top to bottom.
_ROOTS = {
    r"query_input_proj\.": "query_encoder.projection.",
    r"query_pos_embed\.": "query_encoder.position.",
    r"query_encoder\.": "query_encoder.block.",
    r"modular_vector_mapping\.": "query_encoder.pooling.",
    r"(clip|frame)_input_proj\.": r"\1_projection.",
    r"(clip|frame)_pos_embed\.": r"\1_position.",
    r"(clip|frame)_encoder\.e_attns\.": r"\1_encoder.branches.",
    r"(clip|frame)_encoder\.ca\.": r"\1_encoder.aggregation.attention.",
    r"(clip|frame)_encoder\.layer1\.": r"\1_encoder.aggregation.hidden.",
    r"(clip|frame)_encoder\.layer2\.": r"\1_encoder.aggregation.logits.",
    r"(clip|frame)_encoder\.noise_input_layer\.": r"\1_encoder.register_projection.",
    r"mean_clip_encoder\.": "register_sampler.summary.",
    r"video_qformer\.cross_attention\.": "register_sampler.conditioning.",
    r"video_qformer\.": "register_sampler.",
    r"video_probabilistic_variational_sampler\.": "register_sampler.variational.",
    r"diffusion_mlp\.": "register_sampler.denoiser.",
}
_PARTS = {
    # shared parts
    r"\.LayerNorm\.": ".norm.",
    r"\.net\.1\.": ".linear.",
    r"\.position_embeddings\.": ".embedding.",
    r"\.self\.": ".attention.",
    r"\.norm1\.": ".attention_norm.",
    r"\.norm2\.": ".ffn_norm.",
    r"\.output\.layer1\.": ".ffn.expand.",
    r"\.output\.layer2\.": ".ffn.contract.",
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
}


def to_ours(published: str) -> str:
    """Our name of a published parameter; a name that no pattern knows comes back unchanged."""
    for pattern, ours in _ROOTS.items():
        name, found = re.subn(rf"^{pattern}", ours, published)
        if found:
            for part, replacement in _PARTS.items():
                name = re.sub(part, replacement, name)
            return name
    return published
