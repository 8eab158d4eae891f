"""Attention with mask and window, and attention blocks (docs/model.md, section 2)."""

import math
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.attention.flex_attention import flex_attention

from dreamprvr.models.layers.basic import Dropout, FeedForward, LayerNorm, at_least_float32

MASKED = -10000.0  # added to the score of a masked key
SMALLEST_HEAD = 16  # channels of the smallest head that FlexAttention compiles


class MultiHeadAttention(nn.Module):
    """Multi-head attention with projections for query, key and value, and none for the output.

    Args:
        hidden_size: D.
        num_heads: number of heads; it must divide `hidden_size`.
    """

    def __init__(self, hidden_size: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(hidden_size, hidden_size)
        self.key = nn.Linear(hidden_size, hidden_size)
        self.value = nn.Linear(hidden_size, hidden_size)

    def forward(
        self, x: Tensor, context: Tensor, mask: Tensor | None, window: Tensor | None
    ) -> Tensor:
        """Attend from some tokens to others.

        Args:
            x: tokens that give the queries, (B, L, D).
            context: tokens that give the keys and values, (B, K, D).
            mask: (B, K), 1 for a valid key and 0 for padding; None if all are valid.
            window: factors of the scaled scores, applied before the mask, (L, K); None for 1.

        Returns:
            (B, L, D).
        """
        q, k, v = (
            rearrange(project(tokens), "b l (h d) -> b h l d", h=self.num_heads)
            for project, tokens in ((self.query, x), (self.key, context), (self.value, context))
        )
        return attend(q, k, v, key_bias(mask), window)

    def pool(self, x: Tensor, context: Tensor, mask: Tensor | None) -> Tensor:
        """Compute `forward` for one query token in each row, without projecting any key or value.

        q . (W k + b) = (W^T q) . k + q . b, and the weights of the values sum to 1. So projecting
        one query and one mean value is enough, instead of K keys and K values.

        Args:
            x: token that gives the query, (B, 1, D).
            context: tokens that give the keys and values, (B, K, D).
            mask: (B, K), 1 for a valid key and 0 for padding; None if all are valid.

        Returns:
            (B, 1, D).
        """
        heads = {"h": self.num_heads}
        q = rearrange(self.query(x), "b 1 (h d) -> h b d", **heads)
        q = q / math.sqrt(q.shape[-1])
        weight = rearrange(self.key.weight, "(h d) e -> h d e", **heads)
        projected = rearrange(q @ weight, "h b e -> b h e")
        constant = rearrange(
            q @ rearrange(self.key.bias, "(h d) -> h d 1", **heads), "h b 1 -> b h 1"
        )
        scores = at_least_float32(projected @ context.transpose(-1, -2)) + at_least_float32(
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
    """Make the number added to each key's scores from a mask; (B, K) -> (B, 1, 1, K)."""
    return None if mask is None else (1 - mask[:, None, None, :]) * MASKED


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, window: Tensor | None) -> Tensor:
    """Multiply the softmax over the keys of (scaled q . k) x window + bias with the values.

    Args:
        q: queries, (..., B, H, L, d).
        k: keys, (..., B, H, K, d).
        v: values, (..., B, H, K, d).
        bias: result of `key_bias`, (B, 1, 1, K) or None.
        window: (L, K) or (..., 1, 1, L, K), or None.

    Returns:
        (..., B, L, H d).
    """
    # scales the scores, but is multiplied with the smaller one of queries and window
    scale = 1 / math.sqrt(q.shape[-1])
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
    """Compute `attend` for G branches by FlexAttention, which fuses it once it is compiled.

    Branches count as heads: this is a view of the projections, so that nothing is copied.

    Args:
        q: queries, (G, B, H, L, d).
        k: keys, (G, B, H, K, d).
        v: values, (G, B, H, K, d).
        bias: numbers added to the scores, (B, 1, 1, K), or None.
        windows: factors of the scaled scores, (G, 1, 1, L, K).

    Returns:
        (G, B, L, H d).
    """
    heads = q.shape[2]
    # indexed with tensors only, because a number would be copied to the device each time
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
    """Attention block or, with `ffn_ratio` 1, cross-attention block (docs/model.md, section 2).

    Attention, Dropout, add the input, LayerNorm; feed-forward, Dropout, add the input, LayerNorm.

    Args:
        hidden_size: D.
        num_heads: number of heads.
        dropout: dropout probability.
        ffn_ratio: width of the feed-forward layer, divided by D.
        attention: module with the `forward` of `MultiHeadAttention`, which is the default.
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        dropout: float,
        ffn_ratio: int = 4,
        attention: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.attention: Any = attention or MultiHeadAttention(hidden_size, num_heads)
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
        """Transform tokens, (B, L, D) -> (B, L, D).

        Args:
            x: tokens, (B, L, D).
            context: tokens that x attends to, (B, K, D); x itself if None.
            mask: as in `MultiHeadAttention`, (B, K).
            window: as in `MultiHeadAttention`, (L, K).
        """
        attended: Tensor = self.attention(x, x if context is None else context, mask, window)
        return self.finish(x, attended)

    def pool(self, x: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compute `forward` for one token in each row; x (B, 1, D) -> (B, 1, D)."""
        return self.finish(x, self.attention.pool(x, context, mask))

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """Compute what follows the attention; x and attended, (B, L, D) -> (B, L, D)."""
        x = self.attention_norm(x + self.dropout(attended))
        return self.ffn_norm(x + self.dropout(self.ffn(x)))


class OutputAttentionBlock(nn.Module):
    """The attention block of MS-SL (docs/models/ms_sl.md, section 1).

    Attention, Linear(D, D), Dropout, add the input, LayerNorm; there is no feed-forward layer.

    Args:
        hidden_size: D.
        num_heads: number of heads.
        dropout: dropout probability.
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
        """Transform tokens, (B, L, D) -> (B, L, D).

        Args:
            x: tokens, (B, L, D).
            mask: as in `MultiHeadAttention`, (B, L).
            window: as in `MultiHeadAttention`, (L, L).
        """
        attended = self.output(self.attention(x, x, mask, window))
        return self.norm(x + self.dropout(attended))
