"""Which parameters are decayed (model.md, section 8)."""

from typing import Any

from torch import nn

from dreamprvr.model.layers import InputProjection, PositionEmbedding


def parameter_groups(network: nn.Module) -> list[dict[str, Any]]:
    """Two groups of the trainable parameters: with the optimiser's weight decay, and with none.

    Not decayed: every bias (the GRU's included), and the LayerNorms of input projections and
    position embeddings. The LayerNorms of attention blocks, sampler and denoiser are decayed.
    """
    exempt_norms = {
        id(parameter)
        for module in network.modules()
        if isinstance(module, (InputProjection, PositionEmbedding))
        for parameter in module.norm.parameters()
    }
    decayed: list[nn.Parameter] = []
    exempt: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        is_bias = name.rsplit(".", 1)[-1].startswith("bias")
        (exempt if is_bias or id(parameter) in exempt_norms else decayed).append(parameter)
    return [{"params": decayed}, {"params": exempt, "weight_decay": 0.0}]
