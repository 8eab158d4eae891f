"""Attention with a window, fused by FlexAttention: the scores never reach memory."""

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention

SMALLEST_HEAD = 16  # FlexAttention's; it compiles none that is smaller


def fused_attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, windows: Tensor) -> Tensor:
    """What `attention.attend` computes; fused once it is compiled on an accelerator.

    Branches count as heads: that is a view of what the projections give, so nothing is copied.

    Args:
        q: (G, B, H, L, d).
        k: (G, B, H, K, d).
        v: (G, B, H, K, d).
        bias: (B, 1, 1, K), added to the scores, or None.
        windows: (G, 1, 1, L, K), factors of the scaled scores.

    Returns:
        (G, B, L, H d).
    """
    heads = q.shape[2]
    # indexed with tensors only: a number among the indices would be a constant made on the device
    factors = rearrange(windows, "g 1 1 l k -> g l k")
    added = None if bias is None else rearrange(bias, "b 1 1 k -> b k")

    def modify(score: Tensor, row: Tensor, head: Tensor, i: Tensor, j: Tensor) -> Tensor:
        score = score * factors[head // heads, i, j]
        return score if added is None else score + added[row, j]

    query, key, value = (rearrange(x, "g b h l d -> b (g h) l d") for x in (q, k, v))
    attended = flex_attention(query, key, value, score_mod=modify)
    assert isinstance(attended, torch.Tensor)
    return rearrange(attended, "b (g h) l d -> g b l (h d)", h=heads)
