"""Attention, and the Gaussian encoder with its aggregation (docs/model.md, sections 2 and 5)."""

import math

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from dreamprvr.models.dreamprvr.config import DreamPRVRConfig


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
            x: tokens that give the queries, (B, L, D).
            context: tokens that give keys and values, (B, K, D).
            visible: 1 where a token sees a key, and 0 elsewhere; (B, L, K) or (B, 1, K).
            window: factors of the scaled scores, applied before the mask; (L, K).

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
        hidden_size: size of a token, D.
        num_heads: number of heads, H.
        dropout: probability of dropout.
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


def gaussian_window(length: int, width: float, num_registers: int) -> Tensor:
    """Return factors of the scaled scores; those from and to registers are 1.

    Args:
        length: number of tokens, L.
        width: width of the branch.
        num_registers: number of registers, R.

    Returns:
        (L + R, L + R) float32.
    """
    center = torch.arange(length, dtype=torch.float64)[:, None] / length
    position = torch.linspace(0, 1, length, dtype=torch.float64)[None, :]
    sigma = max(width, 0.01) / 9
    gaussian = torch.exp(-((position - center) ** 2) / (2 * sigma**2))
    gaussian = gaussian / gaussian.max(dim=1, keepdim=True).values
    window = torch.ones(length + num_registers, length + num_registers)
    window[:length, :length] = gaussian.float()
    return window


class AdaptiveAggregation(nn.Module):
    """Weighs the branches at every position."""

    def __init__(self, length: int, config: DreamPRVRConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.temperature = config.softmax_temperature
        self.attention = AttentionBlock(size, config.num_heads, config.dropout, ffn_ratio=1)
        self.hidden = nn.Linear(size, size)
        self.dropout = nn.Dropout(config.dropout)
        self.logits = nn.Linear(size, length)

    def forward(self, branches: list[Tensor], mask: Tensor) -> Tensor:
        """Branches, (B, L, D) each, and the mask (B, L) of valid tokens -> (B, L, D)."""
        stacked = torch.stack(branches, dim=1)  # (B, G, L, D)
        summary = stacked.mean(dim=(1, 2))[:, None]  # (B, 1, D)
        logits = []
        for branch in branches:
            attended = self.attention(summary, branch, mask[:, None, :])
            logits.append(self.logits(self.dropout(F.relu(self.hidden(attended))))[:, 0])  # (B, L)
        weights = torch.softmax(torch.stack(logits, dim=1) / self.temperature, dim=1)  # (B, G, L)
        return (weights[..., None] * stacked).sum(dim=1)


class GaussianEncoder(nn.Module):
    """Attention blocks over [V ; r], one after the other, and their aggregation.

    The first block is plain, each of the others has a Gaussian window. Every block also computes
    the rows of the registers, which are cut off afterwards.
    """

    def __init__(self, length: int, config: DreamPRVRConfig) -> None:
        super().__init__()
        size, heads, registers = config.hidden_size, config.num_heads, config.num_registers
        self.num_registers = registers
        if registers:
            self.register_projection = InputProjection(size, size, config.input_dropout)
        self.branches = nn.ModuleList()
        for _ in range(1 + len(config.gaussian_widths)):
            self.branches.append(AttentionBlock(size, heads, config.dropout))
        self.aggregation = AdaptiveAggregation(length, config)
        for number, width in enumerate(config.gaussian_widths, start=1):
            window = gaussian_window(length, width, registers)
            self.register_buffer(f"window_{number}", window, persistent=False)

    def _visible(self, mask: Tensor) -> Tensor:
        """Return (B, L + R, L + R): all see valid tokens, and tokens see registers too."""
        length, size = mask.shape[1], mask.shape[1] + self.num_registers
        visible = mask.new_zeros(len(mask), size, size)
        visible[:, :, :length] = mask[:, None, :]
        visible[:, :length, length:] = 1
        return visible

    def forward(self, tokens: Tensor, registers: Tensor | None, mask: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D).

        Args:
            tokens: V, projected and with positions, (B, L, D).
            registers: r, (B, R, D); None in the model without registers.
            mask: 1 for a valid token, (B, L).
        """
        x = tokens
        if registers is not None:
            x = torch.cat([tokens, self.register_projection(registers)], dim=1)  # (B, L + R, D)
        visible = self._visible(mask)
        outputs = []
        for number, branch in enumerate(self.branches):
            window = getattr(self, f"window_{number}") if number else None
            outputs.append(branch(x, x, visible, window)[:, : tokens.shape[1]])
        return self.aggregation(outputs, mask)
