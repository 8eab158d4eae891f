"""Register-augmented Gaussian attention: concentrate (model.md, sections 2 and 5)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dreamprvr.model.aggregation import AdaptiveAggregation
from dreamprvr.model.attention import AttentionBlock
from dreamprvr.model.branches import ParallelBlocks
from dreamprvr.model.config import NetworkConfig
from dreamprvr.model.layers import InputProjection


def gaussian_window(length: int, width: float) -> Tensor:
    """The fixed window that a branch multiplies its scaled scores by.

    g[i, j] = exp(-(x_j - c_i)^2 / (2 s^2)) with c_i = i / L, x_j = j / (L - 1),
    s = max(width, 0.01) / 9; each row is divided by its maximum.

    Args:
        length: L, tokens of the video.
        width: of the branch.

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


class GaussianEncoder(nn.Module):
    """Parallel attention blocks over [V ; r], one plain and one per Gaussian width, aggregated.

    Video tokens see all valid tokens and all registers. The registers' own outputs are dropped
    after this single layer, so they are never computed: registers are only keys and values.
    """

    def __init__(self, length: int, config: NetworkConfig) -> None:
        super().__init__()
        size, dropout = config.hidden_size, config.dropout
        self.register_projection = (
            InputProjection(size, size, config.input_dropout) if config.num_registers else None
        )
        self.branches = ParallelBlocks(
            [
                AttentionBlock(size, config.num_heads, dropout)
                for _ in range(1 + len(config.gaussian_widths))
            ]
        )
        self.aggregation = AdaptiveAggregation(length, config)
        plain = torch.ones(1, length, length)
        windows = [gaussian_window(length, width)[None] for width in config.gaussian_widths]
        self.windows: Tensor
        self.register_buffer(  # (branches, L, L + R); registers keep factor 1
            "windows",
            F.pad(torch.cat([plain, *windows]), (0, config.num_registers), value=1.0),
            persistent=False,
        )

    def forward(self, tokens: Tensor, registers: Tensor | None, mask: Tensor | None) -> Tensor:
        """(B, L, D) -> (B, L, D).

        Args:
            tokens: V, projected and positioned.
            registers: r, (B, R, D), or None in the register-free model.
            mask: (B, L), 1 for a valid token; None if all are.
        """
        context, context_mask = tokens, mask
        if registers is not None and self.register_projection is not None:
            registers = self.register_projection(registers)
            context = torch.cat([tokens, registers], dim=1)  # (B, L + R, D)
            if mask is not None:
                context_mask = F.pad(mask, (0, registers.shape[1]), value=1.0)
        return self.aggregation(self.branches(tokens, context, context_mask, self.windows), mask)
