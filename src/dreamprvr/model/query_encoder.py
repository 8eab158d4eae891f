"""The query branch (model.md, section 3)."""

import torch
from torch import Tensor, nn

from dreamprvr.model.attention import MASKED, AttentionBlock
from dreamprvr.model.config import NetworkConfig
from dreamprvr.model.layers import InputProjection, PositionEmbedding, full


class QueryEncoder(nn.Module):
    """Projection, position, one attention block, attention pooling over the words."""

    def __init__(self, text_dim: int, config: NetworkConfig) -> None:
        super().__init__()
        self.projection = InputProjection(text_dim, config.hidden_size, config.input_dropout)
        self.position = PositionEmbedding(config.max_words, config.hidden_size, config.dropout)
        self.block = AttentionBlock(config.hidden_size, config.num_heads, config.dropout)
        self.pooling = nn.Linear(config.hidden_size, 1, bias=False)

    def forward(self, words: Tensor, mask: Tensor) -> Tensor:
        """One embedding a caption.

        Args:
            words: (Q, L, E).
            mask: (Q, L), 1 for a word.

        Returns:
            (Q, D).
        """
        x = self.block(self.position(self.projection(words)), mask=mask)
        scores = full(self.pooling(x)).squeeze(-1) + (1 - mask) * MASKED  # (Q, L)
        return torch.einsum("ql,qld->qd", torch.softmax(scores, dim=-1), x)
