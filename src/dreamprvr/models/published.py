"""Formats of the authors' checkpoints: how their parameter and setting names map to our own.

Each model has a `PublishedFormat`, which is data only. This file has the names that several models
share.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from dreamprvr.core.torch_file import StandIn

T = TypeVar("T")

# A parameter's name is translated in two steps: the first pattern of `roots` that matches its
# beginning is replaced, then every pattern of `parts`, in order, wherever it matches.
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
    """The names that the authors of a model give its parameters and settings.

    Args:
        roots: beginnings of published parameter names, as regular expressions, and ours.
        parts: what is replaced inside a parameter's name, as regular expressions.
        state_key: name of the file's entry that holds the weights.
        config_key: name of the file's entry that holds the settings.
        sizes: for each of our settings that a shape tells, a published parameter and the axis that
            has the size.
        settings: for each of our settings that no shape tells, its name in the file's settings.
        counts: for each of our settings that is a number of parts, the published prefix that stands
            before the number of a part.
        absent: for each of our settings that is 0 where certain parameters are missing, the
            published prefixes of these parameters.
        ignored: names of published parameters that are no weights, as regular expressions.
        foreign: beginnings of the names of classes in the file, and what stands in for the classes.
    """

    roots: Mapping[str, str]
    parts: Mapping[str, str] = field(default_factory=lambda: SHARED_PARTS)
    state_key: str = "state_dict"
    config_key: str = "config"
    sizes: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, str] = field(default_factory=dict)
    absent: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    foreign: Mapping[str, type] = field(default_factory=lambda: {"Opts.": StandIn})

    def to_ours(self, published: str) -> str:
        """Translate a parameter's name; a name without a pattern stays unchanged."""
        for pattern, ours in self.roots.items():
            name, count = re.subn(rf"^{pattern}", ours, published)
            if count:
                for part, replacement in self.parts.items():
                    name = re.sub(part, replacement, name)
                return name
        return published

    def translate(self, published: Mapping[str, T]) -> dict[str, T]:
        """Give our names to values by published name, and leave out those that are ignored."""
        return {
            self.to_ours(name): value
            for name, value in published.items()
            if not any(re.fullmatch(pattern, name) for pattern in self.ignored)
        }


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
