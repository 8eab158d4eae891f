"""Attention in Lorentz space, and the encoder that has it (docs/models/hlformer.md, section 2).

A point of the hyperboloid of curvature 1 is a row whose first entry, the *time*, is
sqrt(1 + |space|^2), where *space* are the other entries. All of it is computed in float32 at least:
sinh and differences of large products have no meaning in half precision.
"""

import math
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from dreamprvr.models.layers.attention import AttentionBlock
from dreamprvr.models.layers.basic import Dropout, InputProjection, at_least_float32
from dreamprvr.models.layers.gaussian import GaussianEncoder

MASKED = -1e18  # score of a masked key
LONGEST = 10.0  # a longer vector is lifted as one of this length


def lift(x: Tensor) -> Tensor:
    """Map vectors to points by the exponential map; (..., M) -> (..., M + 1)."""
    length = x.square().sum(dim=-1, keepdim=True).clamp(min=1e-9).sqrt()
    space = torch.sinh(length.clamp(max=LONGEST)) / length * x
    time = (1 + space.square().sum(dim=-1, keepdim=True)).sqrt()
    return torch.cat([time, space], dim=-1)


def to_tangent(points: Tensor) -> Tensor:
    """Map points to vectors, by the inverse of `lift`; (..., M + 1) -> (..., M)."""
    time = points[..., :1]
    root = ((time - 1) * (time + 1)).clamp(min=1e-9).sqrt()
    return torch.log(time + root) / root * points[..., 1:]  # arcosh(time) = log(time + root)


def flip_time(points: Tensor) -> Tensor:
    """Negate the time, so that a dot product becomes a Lorentz product; (..., d) -> (..., d)."""
    return torch.cat([-points[..., :1], points[..., 1:]], dim=-1)


class LorentzLinear(nn.Module):
    """Linear layer from points to a point for each head.

    Args:
        size: M + 1, number of entries of a point.
        num_heads: H; it must divide `size`.
        dropout: dropout probability of each entry of a point, the time included.
    """

    def __init__(self, size: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = Dropout(dropout)
        self.linear = nn.Linear(size, size, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(2.3))

    def forward(self, points: Tensor) -> Tensor:
        """Transform points, (B, L, M + 1) -> (B, H, L, d)."""
        mixed = self.linear(self.dropout(points))
        mixed = rearrange(mixed, "b l (h d) -> b h l d", h=self.num_heads)
        time = torch.sigmoid(mixed[..., :1]) * self.log_scale.exp() + 1.1
        space = mixed[..., 1:]
        square = space.square().sum(dim=-1, keepdim=True).clamp(min=1e-8)
        return torch.cat([time, space * ((time.square() - 1) / square).sqrt()], dim=-1)


class LorentzAttention(nn.Module):
    """Multi-head attention whose keys, values and queries are points.

    Args:
        hidden_size: D.
        num_heads: H; it must divide M + 1.
        lorentz_size: M, number of space entries of a point.
        dropout: dropout probability.
    """

    def __init__(self, hidden_size: int, num_heads: int, lorentz_size: int, dropout: float) -> None:
        super().__init__()
        points = lorentz_size + 1
        self.input_projection = InputProjection(hidden_size, lorentz_size, dropout)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(lorentz_size) / 2))
        self.query = LorentzLinear(points, num_heads, dropout)
        self.key = LorentzLinear(points, num_heads, dropout)
        self.value = LorentzLinear(points, num_heads, dropout)
        self.divisor = nn.Parameter(torch.full((1,), math.sqrt(points)))
        self.bias = nn.Parameter(torch.tensor(0.0))
        self.output_projection = InputProjection(lorentz_size, hidden_size, dropout)

    def forward(
        self, x: Tensor, context: Tensor, mask: Tensor | None, window: Tensor | None
    ) -> Tensor:
        """Attend from some tokens to others; see `MultiHeadAttention.forward`."""
        rows = self.input_projection(context)
        asking = rows if x is context else self.input_projection(x)
        with torch.autocast(x.device.type, enabled=False):
            scale = self.log_scale.exp()
            points = lift(scale * at_least_float32(rows))
            asking = points if x is context else lift(scale * at_least_float32(asking))
            centroids = self._attend(asking, points, mask, window)
            tangent = to_tangent(rearrange(centroids, "b h l d -> b l (h d)")) / scale
        attended: Tensor = self.output_projection(tangent)
        return attended

    def _attend(
        self, asking: Tensor, points: Tensor, mask: Tensor | None, window: Tensor | None
    ) -> Tensor:
        """Find the centroid of the values for each query, (B, H, L, d)."""
        q, k, v = self.query(asking), self.key(points), self.value(points)
        scores = (2 + 2 * (flip_time(q) @ k.transpose(-1, -2))) / self.divisor + self.bias
        if window is not None:
            scores = scores * window
        if mask is not None:
            scores = scores.masked_fill(mask[:, None, None, :] == 0, MASKED)
        mixed = torch.softmax(scores, dim=-1) @ v
        square = (flip_time(mixed) * mixed).sum(dim=-1, keepdim=True)
        return mixed / square.abs().clamp(min=1e-8).sqrt()

    def constrain(self) -> None:
        """Keep the scale of what is lifted at 1 or below."""
        with torch.no_grad():
            self.log_scale.clamp_(max=0)


class LorentzGaussianEncoder(GaussianEncoder):
    """Gaussian encoder with as many Lorentz branches, of the same windows, beside its own.

    Args:
        length: L, number of tokens of a video.
        config: settings as in `HLFormerConfig`.
        num_registers: R; 0 for a model without registers.
        aggregation: module that joins the branches; `AdaptiveAggregation` by default.
        lorentz_size: M; `config.lorentz_size` if None, for models without that setting.
    """

    def __init__(
        self,
        length: int,
        config: Any,
        num_registers: int = 0,
        aggregation: nn.Module | None = None,
        lorentz_size: int | None = None,
    ) -> None:
        super().__init__(length, config, num_registers, aggregation)
        size, heads, dropout = config.hidden_size, config.num_heads, config.dropout
        lorentz_size = lorentz_size or config.lorentz_size
        self.lorentz_branches = nn.ModuleList(
            AttentionBlock(
                size, heads, dropout,
                attention=LorentzAttention(size, heads, lorentz_size, dropout),
            )
            for _ in range(len(self.branches))
        )  # fmt: skip

    def branch_outputs(self, tokens: Tensor, context: Tensor, mask: Tensor | None) -> Tensor:
        """Compute the branches of the base, then those in Lorentz space."""
        euclidean = super().branch_outputs(tokens, context, mask)
        lorentz = [
            block(tokens, context, mask, window)
            for block, window in zip(self.lorentz_branches, self.windows, strict=True)
        ]
        return torch.cat([euclidean, torch.stack(lorentz).to(euclidean.dtype)])
