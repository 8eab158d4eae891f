"""Adaptive aggregation of the branches (model.md, section 5)."""

import torch
from einops import rearrange, reduce, repeat
from torch import Tensor, nn
from torch.nn import functional as F

from dreamprvr.model.attention import AttentionBlock
from dreamprvr.model.config import NetworkConfig
from dreamprvr.model.dropout import Dropout
from dreamprvr.model.layers import full


class AdaptiveAggregation(nn.Module):
    """Weighs the branches at every position by what a summary of the video finds in each."""

    def __init__(self, length: int, config: NetworkConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.temperature = config.softmax_temperature
        self.attention = AttentionBlock(size, config.num_heads, config.dropout, ffn_ratio=1)
        self.hidden = nn.Linear(size, size)
        self.dropout = Dropout(config.dropout)
        self.logits = nn.Linear(size, length)

    def forward(self, branches: Tensor, mask: Tensor | None) -> Tensor:
        """(G, B, L, D) of G branches -> (B, L, D).

        Args:
            branches: the branches' outputs.
            mask: (B, L), 1 for a valid token; None if all are.
        """
        num = len(branches)
        summary = repeat(reduce(branches, "g b l d -> b d", "mean"), "b d -> (g b) 1 d", g=num)
        found = self.attention.pool(
            summary,
            context=rearrange(branches, "g b l d -> (g b) l d"),
            mask=None if mask is None else repeat(mask, "b l -> (g b) l", g=num),
        )
        logits = self.logits(self.dropout(F.relu(self.hidden(found))))  # (G B, 1, L)
        logits = rearrange(logits, "(g b) 1 l -> g b l", g=num)
        weights = torch.softmax(full(logits) / self.temperature, dim=0)
        # not an einsum: it would become B x L matrix products of one row each
        return (weights[..., None] * branches).sum(dim=0)
