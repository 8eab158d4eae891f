"""The query branch (docs/model.md, section 3), and word-level queries beside it."""

from typing import Any

import torch
from torch import Tensor, nn

from dreamprvr.models.encoded import QueryRows
from dreamprvr.models.layers.attention import MASKED, AttentionBlock
from dreamprvr.models.layers.basic import InputProjection, PositionEmbedding, at_least_float32, unit


class AttentionPooling(nn.Linear):
    """Attention pooling: the mean of tokens, weighted by a softmax over their scores.

    Args:
        hidden_size: D.
    """

    def __init__(self, hidden_size: int) -> None:
        super().__init__(hidden_size, 1, bias=False)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pool the tokens of each row, (B, L, D) -> (B, D).

        Args:
            tokens: (B, L, D).
            mask: (B, L), 1 for a token and 0 for padding; None if all are tokens.
        """
        logits = at_least_float32(super().forward(tokens)).squeeze(-1)  # (B, L)
        if mask is not None:
            logits = logits + (1 - mask) * MASKED
        return torch.einsum("bl,bld->bd", torch.softmax(logits, dim=-1), tokens)


class QueryEncoder(nn.Module):
    """The query branch: projection, position, an attention block, and pooling over the words.

    Args:
        text_dim: E, size of a word feature.
        config: settings with `hidden_size`, `num_heads`, `max_words`, `dropout` and
            `input_dropout`.
        block: attention block, called as `block(x, mask=mask)`; by default the block of
            docs/model.md, section 2.
    """

    def __init__(self, text_dim: int, config: Any, block: nn.Module | None = None) -> None:
        super().__init__()
        size, dropout = config.hidden_size, config.dropout
        self.projection = InputProjection(text_dim, size, config.input_dropout)
        self.position = PositionEmbedding(config.max_words, size, dropout)
        self.block = block or AttentionBlock(size, config.num_heads, dropout)
        self.pooling = AttentionPooling(size)

    def forward(self, words: Tensor, mask: Tensor) -> Tensor:
        """Encode captions as one vector each.

        Args:
            words: features of the words, (Q, L, E).
            mask: (Q, L), 1 for a word and 0 for padding.

        Returns:
            (Q, D).
        """
        x = self.block(self.position(self.projection(words)), mask=mask)  # (Q, L, D)
        pooled: Tensor = self.pooling(x, mask)
        return pooled


class WordQueries(nn.Module):
    """The second query encoder of RAL: every word of a caption is a row with a weight of its own.

    Projection, position and an attention block give the words; nothing is pooled. A small network
    weighs them (docs/models/ral.md, section 2).

    Args:
        text_dim: E, size of a word feature.
        config: settings with `hidden_size`, `num_heads`, `dropout` and `input_dropout`.
    """

    def __init__(self, text_dim: int, config: Any) -> None:
        super().__init__()
        size = config.hidden_size
        self.projection = InputProjection(text_dim, size, config.input_dropout)
        self.block = AttentionBlock(size, config.num_heads, config.dropout)
        self.weight = nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, 1))

    def forward(self, words: Tensor, mask: Tensor, position: nn.Module) -> QueryRows:
        """Encode captions as a row for each word.

        Args:
            words: features of the words, (Q, L, E).
            mask: (Q, L), 1 for a word and 0 for padding.
            position: adds the positions that the query branch learns, (Q, L, D) -> (Q, L, D).

        Returns:
            The rows (Q, L, D). Their weights come from the words of unit length, and the weights
            of the plain products from the words as they are. They add up to 1 over the words of a
            caption, and are 0 at padding.
        """
        rows = self.block(position(self.projection(words)), mask=mask)  # (Q, L, D)
        return QueryRows(rows, self._weights(unit(rows), mask), self._weights(rows, mask))

    def _weights(self, rows: Tensor, mask: Tensor) -> Tensor:
        logits = at_least_float32(self.weight(rows)).squeeze(-1) + (1 - mask) * MASKED  # (Q, L)
        return torch.softmax(logits, dim=-1)
