"""The same layer of several branches, computed at once: G layers, G inputs, one operation."""

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from dreamprvr.model.layers import LayerNorm, full


def grouped_linear(x: Tensor, layers: Sequence[nn.Linear]) -> Tensor:
    """Layer g applied to x[g], as one batched matrix product.

    Args:
        x: (G, B, L, I).
        layers: G layers from I to O, with biases.

    Returns:
        (G, B, L, O).
    """
    if len(layers) == 1:
        return layers[0](x)
    weight = torch.stack([layer.weight for layer in layers])  # (G, O, I)
    bias = torch.stack([layer.bias for layer in layers])
    rows = rearrange(x, "g b l i -> g (b l) i")
    y = torch.baddbmm(bias[:, None], rows, rearrange(weight, "g o i -> g i o"))
    return rearrange(y, "g (b l) o -> g b l o", b=x.shape[1])


def grouped_norm(x: Tensor, norms: Sequence[LayerNorm]) -> Tensor:
    """Layer g applied to x[g]; (G, B, L, D) -> (G, B, L, D), never in half precision."""
    if len(norms) == 1:
        return norms[0](x)
    weight = torch.stack([norm.weight for norm in norms])[:, None, None]  # (G, 1, 1, D)
    bias = torch.stack([norm.bias for norm in norms])[:, None, None]
    return torch.addcmul(bias, F.layer_norm(full(x), x.shape[-1:], eps=norms[0].eps), weight)
