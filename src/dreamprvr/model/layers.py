"""Parts that several modules share (model.md, section 2)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dreamprvr.model.dropout import Dropout


def full(x: Tensor) -> Tensor:
    """Half precision to float32; float32 and float64 as they are.

    Softmax, norms, cosines and losses go through this, so mixed precision never reaches them.
    """
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


class LayerNorm(nn.LayerNorm):
    """Layer normalisation that stays in float32 under mixed precision."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis; (..., D) -> (..., D), never in half precision."""
        return F.layer_norm(full(x), self.normalized_shape, self.weight, self.bias, self.eps)


class InputProjection(nn.Module):
    """LayerNorm(in) -> Dropout -> Linear(in, D) -> ReLU."""

    def __init__(self, in_size: int, hidden_size: int, dropout: float) -> None:
        super().__init__()
        self.norm = LayerNorm(in_size)
        self.dropout = Dropout(dropout)
        self.linear = nn.Linear(in_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., D)."""
        return F.relu(self.linear(self.dropout(self.norm(x))))


class PositionEmbedding(nn.Module):
    """Adds a learned embedding of the position, then LayerNorm and Dropout."""

    def __init__(self, max_length: int, hidden_size: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(max_length, hidden_size)
        self.norm = LayerNorm(hidden_size)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D), L at most `max_length`."""
        return self.dropout(self.norm(x + self.embedding.weight[: x.shape[1]]))


class FeedForward(nn.Module):
    """Linear(D, r D) -> ReLU -> Dropout -> Linear(r D, D)."""

    def __init__(self, hidden_size: int, ratio: int, dropout: float) -> None:
        super().__init__()
        self.expand = nn.Linear(hidden_size, ratio * hidden_size)
        self.dropout = Dropout(dropout)
        self.contract = nn.Linear(ratio * hidden_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return self.contract(self.dropout.relu(self.expand(x)))


def sinusoidal_table(length: int, size: int) -> Tensor:
    """Sinusoidal position codes: sines in the even columns, cosines in the odd ones.

    Args:
        length: number of positions, from 0.
        size: columns; even.

    Returns:
        (length, size) float32.
    """
    rate = torch.exp(torch.arange(0, size, 2) * (-torch.log(torch.tensor(10000.0)) / size))
    angle = torch.arange(length)[:, None] * rate  # (length, size / 2)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)
