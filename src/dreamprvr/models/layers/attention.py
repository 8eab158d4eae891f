"""Attention with mask and window, and its blocks (docs/model.md, section 2)."""

import math

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.attention.flex_attention import flex_attention

from dreamprvr.models.layers.basic import Dropout, FeedForward, LayerNorm, at_least_float32

MASKED = -10000.0  # added to the score of a masked key
SMALLEST_HEAD = 16  # channels of a head; FlexAttention compiles none that is smaller


class MultiHeadAttention(nn.Module):
    """Multi-head attention with Q, K, V projections and no output projection."""

    def __init__(self, hidden_size: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(hidden_size, hidden_size)
        self.key = nn.Linear(hidden_size, hidden_size)
        self.value = nn.Linear(hidden_size, hidden_size)

    def forward(
        self, x: Tensor, context: Tensor, mask: Tensor | None, window: Tensor | None
    ) -> Tensor:
        """Attend from `x` (B, L, D) to `context` (B, K, D).

        Args:
            x: tokens that ask.
            context: tokens that are asked.
            mask: (B, K), 1 for a valid key, 0 for padding.
            window: (L, K), factor of the scaled scores, applied before the mask.

        Returns:
            (B, L, D).
        """
        q, k, v = (
            rearrange(project(tokens), "b l (h d) -> b h l d", h=self.num_heads)
            for project, tokens in ((self.query, x), (self.key, context), (self.value, context))
        )
        return attend(q, k, v, key_bias(mask), window)

    def pool(self, x: Tensor, context: Tensor, mask: Tensor | None) -> Tensor:
        """`forward` where one token asks: no key and no value is ever projected.

        q . (W k + b) = (W^T q) . k + q . b, and the weights of the values sum to 1, so one product
        with the query and one with the mean value do: K times fewer than projecting K tokens.

        Args:
            x: (B, 1, D).
            context: (B, K, D).
            mask: (B, K), 1 for a valid key, 0 for padding; None if all are valid.

        Returns:
            (B, 1, D).
        """
        heads = {"h": self.num_heads}
        q = rearrange(self.query(x), "b 1 (h d) -> h b d", **heads)
        q = q / math.sqrt(q.shape[-1])
        weight = rearrange(self.key.weight, "(h d) e -> h d e", **heads)
        asked = rearrange(q @ weight, "h b e -> b h e")
        constant = rearrange(
            q @ rearrange(self.key.bias, "(h d) -> h d 1", **heads), "h b 1 -> b h 1"
        )
        scores = at_least_float32(asked @ context.transpose(-1, -2)) + at_least_float32(
            constant
        )  # (B, H, K)
        bias = key_bias(mask)
        if bias is not None:
            scores = scores + bias.squeeze(1)
        weights = torch.softmax(scores, dim=-1).to(context.dtype)
        mixed = rearrange(weights @ context, "b h e -> h b e")
        value = rearrange(self.value.weight, "(h d) e -> h e d", **heads)
        return rearrange(mixed @ value, "h b d -> b 1 (h d)") + self.value.bias


def key_bias(mask: Tensor | None) -> Tensor | None:
    """What is added to the scores of the keys: (B, K), 1 for a valid one -> (B, 1, 1, K)."""
    return None if mask is None else (1 - mask[:, None, None, :]) * MASKED


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, window: Tensor | None) -> Tensor:
    """Softmax of (scaled q . k) x window + bias over the keys, times v.

    Args:
        q: (..., B, H, L, d).
        k: (..., B, H, K, d).
        v: (..., B, H, K, d).
        bias: of `key_bias`.
        window: (L, K), or (..., 1, 1, L, K).

    Returns:
        (..., B, L, H d).
    """
    scale = 1 / math.sqrt(q.shape[-1])  # of the scores, but multiplied with what is smaller
    if window is None:
        q = q * scale
    else:
        window = window * scale
    scores = at_least_float32(q @ k.transpose(-1, -2))
    if window is not None and bias is not None:
        scores = torch.addcmul(bias, scores, window)  # one pass over the largest tensor
    elif window is not None:
        scores = scores * window
    elif bias is not None:
        scores = scores + bias
    weighted = torch.softmax(scores, dim=-1).to(v.dtype) @ v
    return rearrange(weighted, "... h l d -> ... l (h d)")


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


class AttentionBlock(nn.Module):
    """Post-norm block: attention, Dropout, add & norm; feed-forward, Dropout, add & norm.

    With `ffn_ratio` 4 the attention block of section 2, with 1 its cross-attention block.
    """

    def __init__(
        self, hidden_size: int, num_heads: int, dropout: float, ffn_ratio: int = 4
    ) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(hidden_size, num_heads)
        self.attention_norm = LayerNorm(hidden_size)
        self.ffn = FeedForward(hidden_size, ffn_ratio, dropout)
        self.ffn_norm = LayerNorm(hidden_size)
        self.dropout = Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        mask: Tensor | None = None,
        window: Tensor | None = None,
    ) -> Tensor:
        """(B, L, D) -> (B, L, D); attends to `context` (B, K, D), or to `x` itself.

        `mask` (B, K) and `window` (L, K) as in `MultiHeadAttention`.
        """
        attended = self.attention(x, x if context is None else context, mask, window)
        return self.finish(x, attended)

    def pool(self, x: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        """`forward` for one token a row that asks: (B, 1, D), (B, K, D), (B, K) -> (B, 1, D)."""
        return self.finish(x, self.attention.pool(x, context, mask))

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """What follows the attention; (B, L, D) -> (B, L, D)."""
        x = self.attention_norm(x + self.dropout(attended))
        return self.ffn_norm(x + self.dropout(self.ffn(x)))


class OutputAttentionBlock(nn.Module):
    """Attention, Linear(D, D), Dropout, add & norm; no feed-forward layer.

    The block of MS-SL and of the first GMMFormer (docs/models/ms_sl.md, section 1).
    """

    def __init__(self, hidden_size: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(hidden_size, num_heads)
        self.output = nn.Linear(hidden_size, hidden_size)
        self.norm = LayerNorm(hidden_size, decayed=False)
        self.dropout = Dropout(dropout)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, window: Tensor | None = None
    ) -> Tensor:
        """(B, L, D) -> (B, L, D); `mask` (B, L) and `window` (L, L) as in `MultiHeadAttention`."""
        attended = self.output(self.attention(x, x, mask, window))
        return self.norm(x + self.dropout(attended))
