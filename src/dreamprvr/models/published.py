"""Checkpoints of the authors: how their parameters and settings map to a model's own.

Each model has a `PublishedFormat`, which is data only. The names that all models share are here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from dreamprvr.core.torch_file import StandIn

# A published name is translated by the first pattern that matches its beginning, then every part
# in the second table. Both tables are read top to bottom.
SHARED_ROOTS = {
    r"query_input_proj\.": "query_encoder.projection.",
    r"query_pos_embed\.": "query_encoder.position.",
    r"query_encoder\.": "query_encoder.block.",
    r"modular_vector_mapping\.": "query_encoder.pooling.",
    r"(clip|frame)_input_proj\.": r"\1_projection.",
    r"(clip|frame)_pos_embed\.": r"\1_position.",
}
GAUSSIAN_ROOTS = {
    r"(clip|frame)_encoder(?:_1)?\.ca\.": r"\1_encoder.aggregation.attention.",
    r"(clip|frame)_encoder(?:_1)?\.layer1\.": r"\1_encoder.aggregation.hidden.",
    r"(clip|frame)_encoder(?:_1)?\.layer2\.": r"\1_encoder.aggregation.logits.",
}
SHARED_PARTS = {
    r"\.output\.LayerNorm\.": ".norm.",
    r"\.output\.dense\.": ".output.",
    r"\.LayerNorm\.": ".norm.",
    r"\.net\.1\.": ".linear.",
    r"\.position_embeddings\.": ".embedding.",
    r"\.self\.": ".attention.",
    r"\.norm1\.": ".attention_norm.",
    r"\.norm2\.": ".ffn_norm.",
    r"\.output\.layer1\.": ".ffn.expand.",
    r"\.output\.layer2\.": ".ffn.contract.",
}


@dataclass(frozen=True)
class PublishedFormat:
    """How the authors of a model name its parameters and settings.

    Args:
        roots: beginnings of parameter names and ours, as regular expressions.
        parts: what is replaced inside a name, as regular expressions.
        state_key: entry of the file that holds the weights.
        config_key: entry that holds the settings.
        sizes: our setting -> a published parameter and the axis that has its size.
        settings: our setting -> the name in the file's own settings, for what no shape tells.
        counts: our setting -> a published prefix that is followed by the number of a part; the
            setting is the number of such parts.
        absent: our setting -> published prefixes; it is 0 where no parameter has one of them.
        foreign: names of classes in the file, by their beginnings, and what stands in for them.
    """

    roots: Mapping[str, str]
    parts: Mapping[str, str] = field(default_factory=lambda: SHARED_PARTS)
    state_key: str = "state_dict"
    config_key: str = "config"
    sizes: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, str] = field(default_factory=dict)
    absent: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    foreign: Mapping[str, type] = field(default_factory=lambda: {"Opts.": StandIn})

    def to_ours(self, published: str) -> str:
        """Translate a parameter's name; a name that no pattern knows comes back unchanged."""
        for pattern, ours in self.roots.items():
            name, found = re.subn(rf"^{pattern}", ours, published)
            if found:
                for part, replacement in self.parts.items():
                    name = re.sub(part, replacement, name)
                return name
        return published


SHARED_SIZES = {
    "hidden_size": ("query_input_proj.net.1.weight", 0),
    "max_words": ("query_pos_embed.position_embeddings.weight", 0),
}
SHARED_SETTINGS = {
    "num_heads": "n_heads",
    "dropout": "drop",
    "input_dropout": "input_drop",
    "clip_weight": "clip_scale_w",
    "frame_weight": "frame_scale_w",
}
