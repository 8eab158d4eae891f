"""The video-centric probabilistic variational sampler (docs/model.md, section 4.3)."""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from dreamprvr.models.layers.basic import LayerNorm, at_least_float32, sinusoidal_table

POSITION_SIZE = 32  # size of the position codes and of the pooling GRU
POOLING_TEMPERATURE = 0.1


class GeneralizedPooling(nn.Module):
    """Sorts the tokens in each dimension and sums them, with a weight for each rank from a GRU.

    Args:
        num_tokens: number of tokens of a video.
    """

    def __init__(self, num_tokens: int) -> None:
        super().__init__()
        self.gru = nn.GRU(POSITION_SIZE, POSITION_SIZE, batch_first=True, bidirectional=True)
        self.score = nn.Linear(POSITION_SIZE, 1, bias=False)
        self.codes: Tensor
        self.register_buffer("codes", sinusoidal_table(num_tokens, POSITION_SIZE), persistent=False)

    def weights(self) -> Tensor:
        """Compute the weight of each rank, (num_tokens,); they are the same for all videos."""
        states, _ = self.gru(self.codes[None])
        both = rearrange(states[0], "l (direction d) -> direction l d", direction=2).mean(0)
        return torch.softmax(self.score(both).squeeze(-1) / POOLING_TEMPERATURE, dim=0)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """Pool the tokens by the result of `weights`; (B, num_tokens, D) -> (B, D)."""
        return torch.einsum("l,bld->bd", weights, x.sort(dim=1, descending=True).values)


class AdditivePooling(nn.Module):
    """Pools the tokens by a softmax over tokens of w2 tanh(w1 h): additive self-attention."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.w1 = nn.Linear(hidden_size, hidden_size // 2, bias=False)
        self.w2 = nn.Linear(hidden_size // 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Pool the tokens; (B, L, D) -> (B, D)."""
        return torch.einsum("bl,bld->bd", torch.softmax(self.logits(x), dim=-1), x)

    def logits(self, x: Tensor) -> Tensor:
        """Compute what the softmax is taken of; (B, L, D) -> (B, L)."""
        return self.w2(torch.tanh(self.w1(x))).squeeze(-1)


class VariationalSampler(nn.Module):
    """Gives the Gaussian distribution that a video's initial registers come from.

    Args:
        hidden_size: D.
        num_tokens: number of tokens of a video, M_c.
    """

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
        """Compute the weights of the generalised pooling, (M_c,), the same for all videos.

        This is no part of `forward`, because no compiler traces a GRU.
        """
        device = self.pooling.codes.device.type
        # the softmax at temperature 0.1 is too steep for half precision
        with torch.autocast(device, enabled=False):
            return self.pooling.weights()

    def forward(self, tokens: Tensor, rank_weights: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the mean, of unit length, and the log-variance.

        Args:
            tokens: h, (B, M_c, D).
            rank_weights: result of the method `rank_weights`, (M_c,).

        Returns:
            mu (B, D) and logvar (B, D), in float32 also under mixed precision.
        """
        # exp(logvar) is too steep for half precision
        with torch.autocast(tokens.device.type, enabled=False):
            tokens = at_least_float32(tokens)
            pooled = self.pooling(tokens, rank_weights)
            residual = torch.sigmoid(self.mean_linear(self.mean_pooling(tokens)))
            mu = F.normalize(self.mean_norm(pooled + residual), dim=-1)
            logvar = self.variance_linear(self.variance_pooling(tokens))
            return mu, logvar + self.variance_global(pooled)
