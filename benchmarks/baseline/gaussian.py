"""Gaussian attention and adaptive aggregation (docs/model.md, sections 2 and 5)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.baseline.attention import AttentionBlock, InputProjection
from dreamprvr.models.dreamprvr.config import DreamPRVRConfig


def gaussian_window(length: int, width: float, num_registers: int) -> Tensor:
    """Factors of the scaled scores; those from and to registers are 1.

    Args:
        length: L.
        width: of the branch.
        num_registers: R.

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
            found = self.attention(summary, branch, mask[:, None, :])
            logits.append(self.logits(self.dropout(F.relu(self.hidden(found))))[:, 0])  # (B, L)
        weights = torch.softmax(torch.stack(logits, dim=1) / self.temperature, dim=1)  # (B, G, L)
        return (weights[..., None] * stacked).sum(dim=1)


class GaussianEncoder(nn.Module):
    """Attention blocks over [V ; r], one after the other, then aggregated.

    The first is plain, the others have a Gaussian window each. Every block is a whole one: the
    registers ask as well, and their rows are cut off afterwards.
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
        """(B, L) valid tokens -> (B, L + R, L + R): all see these, tokens see registers too."""
        length, size = mask.shape[1], mask.shape[1] + self.num_registers
        visible = mask.new_zeros(len(mask), size, size)
        visible[:, :, :length] = mask[:, None, :]
        visible[:, :length, length:] = 1
        return visible

    def forward(self, tokens: Tensor, registers: Tensor | None, mask: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D).

        Args:
            tokens: V, projected and positioned.
            registers: r, (B, R, D); None in the register-free model.
            mask: (B, L), 1 for a valid token.
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
