"""The denoiser of the truncated diffusion (model.md, section 4.5)."""

from torch import Tensor, nn
from torch.nn import functional as F

from dreamprvr.model.config import NetworkConfig
from dreamprvr.model.layers import LayerNorm, sinusoidal_table


class TimeEmbedding(nn.Module):
    """A frozen table of T x D, then Linear, Swish, Linear."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.table = nn.Embedding(config.diffusion_steps, config.hidden_size)
        self.table.weight.requires_grad_(False)
        self.expand = nn.Linear(config.hidden_size, config.hidden_size)
        self.contract = nn.Linear(config.hidden_size, config.hidden_size)

    def set_sinusoidal(self) -> None:
        """Fill the table with the paper's sinusoidal codes (P)."""
        self.table.weight.data.copy_(sinusoidal_table(*self.table.weight.shape))

    def forward(self, step: Tensor) -> Tensor:
        """(N,) int64 -> (N, D)."""
        return self.contract(F.silu(self.expand(self.table(step))))


class DenoiserBlock(nn.Module):
    """Residual block that adds the time and the condition half-way."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.norm_in = LayerNorm(hidden_size)
        self.linear_in = nn.Linear(hidden_size, hidden_size)
        self.time = nn.Linear(hidden_size, hidden_size)
        self.condition = nn.Linear(hidden_size, hidden_size)
        self.norm_out = LayerNorm(hidden_size)
        self.linear_out = nn.Linear(hidden_size, hidden_size)
        self.shortcut = nn.Linear(hidden_size, hidden_size)

    def forward(self, x: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        """(..., R, D) -> (..., R, D); `time` and `condition` broadcast with `x`."""
        h = self.linear_in(F.silu(self.norm_in(x)))
        h = h + self.time(F.silu(time)) + self.condition(F.silu(condition))
        return self.linear_out(F.silu(self.norm_out(h))) + self.shortcut(x)


class Denoiser(nn.Module):
    """Predicts the noise in x_t from x_t, the step and the video's condition."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.time = TimeEmbedding(config)
        self.condition_norm = LayerNorm(size)
        self.condition_linear = nn.Linear(size, size)
        self.blocks = nn.ModuleList(DenoiserBlock(size) for _ in range(config.denoiser_blocks))
        self.output = nn.Linear(size, size)

    def embed_condition(self, condition: Tensor) -> Tensor:
        """LayerNorm, ReLU, Linear of c; the same at every step, so computed once a video."""
        return self.condition_linear(F.relu(self.condition_norm(condition)))

    def forward(self, x: Tensor, step: Tensor, condition: Tensor) -> Tensor:
        """Predicted noise, the shape of `x`.

        Args:
            x: x_t, (N, B, R, D) or (B, R, D).
            step: t, (N,) int64, one for each slice of the first axis, or (1,) for all.
            condition: c from `embed_condition`, (B, R, D).
        """
        time = self.time(step)
        time = time.view(-1, *(1,) * (x.dim() - 2), time.shape[-1])  # (N, 1.., D)
        h = x
        for block in self.blocks:
            h = block(h, time, condition)
        return self.output(h + x)
