"""Input projection, position embedding, attention block (docs/model.md, section 2)."""

import math

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F


class InputProjection(nn.Module):
    """LayerNorm(in) -> Dropout -> Linear(in, D) -> ReLU."""

    def __init__(self, in_size: int, hidden_size: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(in_size)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(in_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, in) -> (B, L, D)."""
        return F.relu(self.linear(self.dropout(self.norm(x))))


class PositionEmbedding(nn.Module):
    """Adds a learned embedding of the position, then LayerNorm and Dropout."""

    def __init__(self, max_length: int, hidden_size: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(max_length, hidden_size)
        self.norm = nn.LayerNorm(hidden_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        position = torch.arange(x.shape[1], device=x.device)
        return self.dropout(self.norm(x + self.embedding(position)))


class MultiHeadAttention(nn.Module):
    """Multi-head attention with Q, K, V projections and no output projection."""

    def __init__(self, hidden_size: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(hidden_size, hidden_size)
        self.key = nn.Linear(hidden_size, hidden_size)
        self.value = nn.Linear(hidden_size, hidden_size)

    def _heads(self, x: Tensor) -> Tensor:
        return rearrange(x, "b l (h d) -> b h l d", h=self.num_heads)

    def forward(
        self, x: Tensor, context: Tensor, visible: Tensor | None, window: Tensor | None
    ) -> Tensor:
        """Attend from `x` to `context`.

        Args:
            x: (B, L, D), tokens that ask.
            context: (B, K, D), tokens that are asked.
            visible: (B, L, K) or (B, 1, K), 1 where a token sees a key and 0 where it does not.
            window: (L, K), factor of the scaled scores, applied before the mask.

        Returns:
            (B, L, D).
        """
        q = self._heads(self.query(x))
        k = self._heads(self.key(context))
        v = self._heads(self.value(context))
        scores = torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(q.shape[-1])  # (B, H, L, K)
        if window is not None:
            scores = scores * window
        if visible is not None:
            scores = scores + (1 - visible[:, None]) * -10000.0
        weights = torch.softmax(scores, dim=-1)
        return rearrange(torch.matmul(weights, v), "b h l d -> b l (h d)")


class FeedForward(nn.Module):
    """Linear(D, r D) -> ReLU -> Dropout -> Linear(r D, D)."""

    def __init__(self, hidden_size: int, ratio: int, dropout: float) -> None:
        super().__init__()
        self.expand = nn.Linear(hidden_size, ratio * hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.contract = nn.Linear(ratio * hidden_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        return self.contract(self.dropout(F.relu(self.expand(x))))


class AttentionBlock(nn.Module):
    """Attention, Dropout, add & LayerNorm; feed-forward, Dropout, add & LayerNorm.

    Args:
        hidden_size: D.
        num_heads: H.
        dropout: probability.
        ffn_ratio: 4 in an attention block, 1 in a cross-attention block.
    """

    def __init__(
        self, hidden_size: int, num_heads: int, dropout: float, ffn_ratio: int = 4
    ) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(hidden_size, num_heads)
        self.attention_norm = nn.LayerNorm(hidden_size)
        self.ffn = FeedForward(hidden_size, ffn_ratio, dropout)
        self.ffn_norm = nn.LayerNorm(hidden_size)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        context: Tensor,
        visible: Tensor | None = None,
        window: Tensor | None = None,
    ) -> Tensor:
        """(B, L, D) -> (B, L, D); arguments as in `MultiHeadAttention`."""
        x = self.attention_norm(x + self.dropout(self.attention(x, context, visible, window)))
        return self.ffn_norm(x + self.dropout(self.ffn(x)))
