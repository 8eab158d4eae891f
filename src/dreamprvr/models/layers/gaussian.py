"""Gaussian attention and its aggregation (docs/model.md, section 5)."""

from collections.abc import Sequence
from typing import Any

import torch
from einops import rearrange, reduce, repeat
from torch import Tensor, nn
from torch.nn import functional as F

from dreamprvr.models.layers.attention import AttentionBlock
from dreamprvr.models.layers.basic import Dropout, InputProjection, at_least_float32
from dreamprvr.models.layers.parallel import ParallelBlocks


def gaussian_window(length: int, width: float) -> Tensor:
    """Make the window that multiplies the scaled scores of a branch (docs/model.md, section 2).

    g[i, j] = exp(-(x_j - c_i)^2 / (2 s^2)) with c_i = i / L, x_j = j / (L - 1) and
    s = max(width, 0.01) / 9. Each row is divided by its maximum.

    Args:
        length: L, number of tokens of the video.
        width: width of the window.

    Returns:
        (L, L) float32.
    """
    center = torch.arange(length, dtype=torch.float64)[:, None] / length
    # the device is given, as torch sometimes leaves that of `with torch.device(...)` out
    position = torch.linspace(0, 1, length, dtype=torch.float64, device=center.device)[None]
    return _window((position - center) ** 2, width).float()


def fitted_windows(mask: Tensor, widths: Sequence[float]) -> Tensor:
    """Make the windows of `gaussian_window` for videos of different lengths.

    Args:
        mask: (B, L), 1 for a token and 0 for the padding after the last one.
        widths: widths of G windows.

    Returns:
        (G, B, 1, L, L); those of a video with n tokens have L = n, and no meaning at padding.
    """
    count = mask.sum(dim=1)[:, None, None]  # (B, 1, 1)
    place = torch.arange(mask.shape[1], device=mask.device, dtype=mask.dtype)
    square = (place / (count - 1).clamp(min=1) - place[:, None] / count) ** 2
    square = square.masked_fill(mask[:, None] == 0, torch.inf)
    return torch.stack([_window(square, width) for width in widths])[:, :, None]


def _window(square: Tensor, width: float) -> Tensor:
    """Make windows from the squares of the distances of places and centres, (..., L, L)."""
    sigma = max(width, 0.01) / 9
    # subtracting the smallest square divides by the row's maximum, without 0 / 0 if it is narrow
    window = torch.exp((square.amin(dim=-1, keepdim=True) - square) / (2 * sigma**2))
    # a factor below 1e-20 changes no float32 score, but makes subnormal products, which are slow
    return window.where(window > 1e-20, 0)


class AdaptiveAggregation(nn.Module):
    """Joins the branches with weights for each position, from a token that attends to each branch.

    Args:
        length: L, number of tokens of a video.
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
        """Join the branches of each video.

        Args:
            branches: outputs of G branches, (G, B, L, D).
            mask: (B, L), 1 for a token and 0 for padding; None if all are tokens.
            token: learned token that attends to the branches, (1, 1, D), as in GMMFormer v2; None
                takes each video's mean over branches and positions, as in DreamPRVR.

        Returns:
            (B, L, D).
        """
        num, videos = branches.shape[:2]
        if token is None:
            token = rearrange(reduce(branches, "g b l d -> b d", "mean"), "b d -> b 1 d")
        asking = repeat(token.expand(videos, -1, -1), "b 1 d -> (g b) 1 d", g=num)
        answers = self.attention.pool(
            asking,
            context=rearrange(branches, "g b l d -> (g b) l d"),
            mask=None if mask is None else repeat(mask, "b l -> (g b) l", g=num),
        )
        logits = self.logits(self.dropout(F.relu(self.hidden(answers))))  # (G B, 1, L)
        logits = rearrange(logits, "(g b) 1 l -> g b l", g=num)
        weights = torch.softmax(at_least_float32(logits) / self.temperature, dim=0)
        # an einsum would compute B x L matrix products of one row each, which is slow
        return (weights[..., None] * branches).sum(dim=0)


class GaussianEncoder(nn.Module):
    """Parallel attention blocks, one plain and one for each Gaussian width, and their aggregation.

    The tokens attend to all valid tokens and all registers. The outputs of the registers would not
    be used after this single layer, so registers give keys and values only.

    Args:
        length: L, number of tokens of a video.
        config: settings as in `dreamprvr.models.gaussian.GaussianConfig`.
        num_registers: R; 0 for a model without registers.
        aggregation: module that joins the branches; `AdaptiveAggregation` by default.
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
        """Encode the tokens of each video, (B, L, D) -> (B, L, D).

        Args:
            tokens: tokens after projection and position embedding, (B, L, D).
            registers: (B, R, D), or None in a model without registers.
            mask: (B, L), 1 for a token and 0 for padding; None if all are tokens.
            token: as in `AdaptiveAggregation`, (1, 1, D) or None.
        """
        context, context_mask = tokens, mask
        if registers is not None and self.register_projection is not None:
            registers = self.register_projection(registers)
            context = torch.cat([tokens, registers], dim=1)  # (B, L + R, D)
            if mask is not None:
                context_mask = F.pad(mask, (0, registers.shape[1]), value=1.0)
        return self.aggregation(self.branch_outputs(tokens, context, context_mask), mask, token)

    def branch_outputs(self, tokens: Tensor, context: Tensor, mask: Tensor | None) -> Tensor:
        """Compute all branches; a subclass may have further ones.

        Args:
            tokens: tokens that give the queries, (B, L, D).
            context: the tokens and the registers, (B, L + R, D); `tokens` if there are none.
            mask: (B, L + R), 1 for a valid key and 0 for padding; None if all are valid.

        Returns:
            (branches, B, L, D).
        """
        outputs: Tensor = self.branches(tokens, context, mask, self.windows)
        return outputs
