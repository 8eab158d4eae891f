"""The attention block and the cross-attention block (model.md, section 2)."""

import math

import torch
from einops import rearrange
from torch import Tensor, nn

from dreamprvr.model.dropout import Dropout
from dreamprvr.model.layers import FeedForward, LayerNorm, full

MASKED = -10000.0  # added to the score of a masked key


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
        q = q / math.sqrt(q.shape[-1])  # scales the scores, on a smaller tensor
        scores = full(q @ k.transpose(-1, -2))  # (B, H, L, K)
        if window is not None:
            scores = scores * window
        if mask is not None:
            scores = scores + (1 - mask[:, None, None, :]) * MASKED
        return rearrange(torch.softmax(scores, dim=-1).to(v.dtype) @ v, "b h l d -> b l (h d)")


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
        x = self.attention_norm(x + self.dropout(attended))
        return self.ffn_norm(x + self.dropout(self.ffn(x)))
