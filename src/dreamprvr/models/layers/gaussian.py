"""Gaussian attention and its aggregation (docs/model.md, section 5)."""

from typing import Any

import torch
from einops import rearrange, reduce, repeat
from torch import Tensor, nn
from torch.nn import functional as F

from dreamprvr.models.layers.attention import AttentionBlock
from dreamprvr.models.layers.basic import Dropout, InputProjection, at_least_float32
from dreamprvr.models.layers.parallel import ParallelBlocks


def gaussian_window(length: int, width: float) -> Tensor:
    """Make the fixed window that a branch multiplies its scaled scores by.

    g[i, j] = exp(-(x_j - c_i)^2 / (2 s^2)) with c_i = i / L, x_j = j / (L - 1),
    s = max(width, 0.01) / 9; each row is divided by its maximum.

    Args:
        length: L, tokens of the video.
        width: width of the branch.

    Returns:
        (L, L) float32.
    """
    center = torch.arange(length, dtype=torch.float64)[:, None] / length
    position = torch.linspace(0, 1, length, dtype=torch.float64)[None]
    sigma = max(width, 0.01) / 9
    square = (position - center) ** 2
    # less the smallest: the division by the row's maximum, without 0 / 0 in a narrow window
    window = torch.exp((square.amin(dim=1, keepdim=True) - square) / (2 * sigma**2))
    # below this a factor changes no float32 score, but makes subnormal products, which are slow
    return window.where(window > 1e-20, 0).float()


class AdaptiveAggregation(nn.Module):
    """Weighs the branches at every position by what one token finds in each.

    Args:
        length: L, positions.
        config: settings as in `dreamprvr.models.gaussian.GaussianConfig`.
    """

    def __init__(self, length: int, config: Any) -> None:
        super().__init__()
        size = config.hidden_size
        self.temperature = config.softmax_temperature
        self.attention = AttentionBlock(size, config.num_heads, config.dropout, ffn_ratio=1)
        self.hidden = nn.Linear(size, size)
        self.dropout = Dropout(config.dropout)
        self.logits = nn.Linear(size, length)

    def forward(self, branches: Tensor, mask: Tensor | None, token: Tensor | None = None) -> Tensor:
        """(G, B, L, D) of G branches -> (B, L, D).

        Args:
            branches: outputs of the branches.
            mask: (B, L), 1 for a valid token; None if all are.
            token: (1, 1, D), a learned token that asks the branches (GMMFormer v2); None takes
                each video's mean over branches and positions (DreamPRVR).
        """
        num, videos = branches.shape[:2]
        if token is None:
            token = rearrange(reduce(branches, "g b l d -> b d", "mean"), "b d -> b 1 d")
        asking = repeat(token.expand(videos, -1, -1), "b 1 d -> (g b) 1 d", g=num)
        found = self.attention.pool(
            asking,
            context=rearrange(branches, "g b l d -> (g b) l d"),
            mask=None if mask is None else repeat(mask, "b l -> (g b) l", g=num),
        )
        logits = self.logits(self.dropout(F.relu(self.hidden(found))))  # (G B, 1, L)
        logits = rearrange(logits, "(g b) 1 l -> g b l", g=num)
        weights = torch.softmax(at_least_float32(logits) / self.temperature, dim=0)
        # not an einsum: it would become B x L matrix products of one row each
        return (weights[..., None] * branches).sum(dim=0)


class GaussianEncoder(nn.Module):
    """Parallel attention blocks over [V ; r], one plain and one per Gaussian width, aggregated.

    Video tokens see all valid tokens and all registers. The registers' own outputs are dropped
    after this single layer, so they are never computed: registers are only keys and values.

    Args:
        length: L, tokens of a video.
        config: settings as in `dreamprvr.models.gaussian.GaussianConfig`.
        num_registers: R; 0 for a model without registers.
        aggregation: joins the branches; `AdaptiveAggregation` by default.
    """

    def __init__(
        self,
        length: int,
        config: Any,
        num_registers: int = 0,
        aggregation: nn.Module | None = None,
    ) -> None:
        super().__init__()
        size, dropout = config.hidden_size, config.dropout
        self.register_projection = (
            InputProjection(size, size, config.input_dropout) if num_registers else None
        )
        self.branches = ParallelBlocks(
            [
                AttentionBlock(size, config.num_heads, dropout)
                for _ in range(1 + len(config.gaussian_widths))
            ]
        )
        self.aggregation = aggregation or AdaptiveAggregation(length, config)
        plain = torch.ones(1, length, length)
        windows = [gaussian_window(length, width)[None] for width in config.gaussian_widths]
        self.windows: Tensor
        self.register_buffer(  # (branches, L, L + R); registers keep factor 1
            "windows",
            F.pad(torch.cat([plain, *windows]), (0, num_registers), value=1.0),
            persistent=False,
        )

    def forward(
        self,
        tokens: Tensor,
        registers: Tensor | None,
        mask: Tensor | None,
        token: Tensor | None = None,
    ) -> Tensor:
        """(B, L, D) -> (B, L, D).

        Args:
            tokens: V, projected and positioned.
            registers: r, (B, R, D), or None in a model without registers.
            mask: (B, L), 1 for a valid token; None if all are.
            token: (1, 1, D), as in `AdaptiveAggregation`.
        """
        context, context_mask = tokens, mask
        if registers is not None and self.register_projection is not None:
            registers = self.register_projection(registers)
            context = torch.cat([tokens, registers], dim=1)  # (B, L + R, D)
            if mask is not None:
                context_mask = F.pad(mask, (0, registers.shape[1]), value=1.0)
        branches = self.branches(tokens, context, context_mask, self.windows)
        return self.aggregation(branches, mask, token)
