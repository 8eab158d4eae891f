"""The video-centric probabilistic variational sampler (docs/model.md, section 4.3)."""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from dreamprvr.models.layers.basic import LayerNorm, at_least_float32, sinusoidal_table

POSITION_SIZE = 32  # size of the position codes and of the pooling GRU
POOLING_TEMPERATURE = 0.1


class GeneralizedPooling(nn.Module):
    """Weighs the tokens by rank, per dimension, with weights that a GRU gives each position."""

    def __init__(self, num_tokens: int) -> None:
        super().__init__()
        self.gru = nn.GRU(POSITION_SIZE, POSITION_SIZE, batch_first=True, bidirectional=True)
        self.score = nn.Linear(POSITION_SIZE, 1, bias=False)
        self.codes: Tensor
        self.register_buffer("codes", sinusoidal_table(num_tokens, POSITION_SIZE), persistent=False)

    def weights(self) -> Tensor:
        """Weight of each rank, (num_tokens,); the same for all videos."""
        states, _ = self.gru(self.codes[None])
        both = rearrange(states[0], "l (direction d) -> direction l d", direction=2).mean(0)
        return torch.softmax(self.score(both).squeeze(-1) / POOLING_TEMPERATURE, dim=0)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """(B, num_tokens, D) and `weights()` -> (B, D)."""
        return torch.einsum("l,bld->bd", weights, x.sort(dim=1, descending=True).values)


class AdditivePooling(nn.Module):
    """Additive self-attention pooling: softmax over tokens of w2 tanh(w1 h)."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.w1 = nn.Linear(hidden_size, hidden_size // 2, bias=False)
        self.w2 = nn.Linear(hidden_size // 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, D) -> (B, D)."""
        weights = torch.softmax(self.w2(torch.tanh(self.w1(x))).squeeze(-1), dim=-1)
        return torch.einsum("bl,bld->bd", weights, x)


class VariationalSampler(nn.Module):
    """The Gaussian that a video's initial registers are drawn from."""

    def __init__(self, hidden_size: int, num_tokens: int) -> None:
        super().__init__()
        self.pooling = GeneralizedPooling(num_tokens)
        self.mean_pooling = AdditivePooling(hidden_size)
        self.mean_linear = nn.Linear(hidden_size, hidden_size)
        self.mean_norm = LayerNorm(hidden_size)
        self.variance_pooling = AdditivePooling(hidden_size)
        self.variance_linear = nn.Linear(hidden_size, hidden_size)
        self.variance_global = nn.Linear(hidden_size, hidden_size)

    def rank_weights(self) -> Tensor:
        """Weights of the generalised pooling, (M_c,); the same for all videos.

        Apart from `forward`, because no compiler traces a GRU.
        """
        device = self.pooling.codes.device.type
        # the softmax at temperature 0.1 is too steep for half precision
        with torch.autocast(device, enabled=False):
            return self.pooling.weights()

    def forward(self, tokens: Tensor, rank_weights: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (unit length) and log-variance.

        Args:
            tokens: h, (B, M_c, D).
            rank_weights: (M_c,), of `rank_weights()`.

        Returns:
            mu (B, D) and logvar (B, D), float32 also under mixed precision.
        """
        # exp(logvar) is too steep for half precision
        with torch.autocast(tokens.device.type, enabled=False):
            tokens = at_least_float32(tokens)
            pooled = self.pooling(tokens, rank_weights)
            residual = torch.sigmoid(self.mean_linear(self.mean_pooling(tokens)))
            mu = F.normalize(self.mean_norm(pooled + residual), dim=-1)
            logvar = self.variance_linear(self.variance_pooling(tokens))
            return mu, logvar + self.variance_global(pooled)
