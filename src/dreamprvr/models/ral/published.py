"""The authors' checkpoints of RAL on GMMFormer v2."""

from dataclasses import replace

from dreamprvr.models.gmmformer_v2.published import FORMAT as GMMFORMER_V2

FORMAT = replace(
    GMMFORMER_V2,
    roots={
        r"frame_branch_query_proj\.": "frame_query_encoder.projection.",
        r"frame_branch_query_encoder\.": "frame_query_encoder.block.",
        r"text_weight_fc\.": "frame_query_encoder.weight.",
        r"pie_net_(text|video)\.attention\.w_(\d)\.": r"alignment.\1.mean_pooling.w\2.",
        r"pie_net_(text|video)\.fc\.": r"alignment.\1.mean_linear.",
        r"pie_net_(text|video)\.layer_norm\.": r"alignment.\1.mean_norm.",
        r"uncertain_net_(text|video)\.attention\.w_(\d)\.": r"alignment.\1.spread_pooling.w\2.",
        r"uncertain_net_(text|video)\.fc\.": r"alignment.\1.spread_linear.",
        r"uncertain_net_(text|video)\.fc2\.": r"alignment.\1.spread_global.",
        **GMMFORMER_V2.roots,
    },
)
