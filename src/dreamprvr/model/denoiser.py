"""The denoiser of the truncated diffusion (model.md, section 4.5)."""

from typing import NamedTuple

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

    def forward(self) -> Tensor:
        """The embeddings of all steps, (T, D)."""
        return self.contract(F.silu(self.expand(self.table.weight)))


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
        """(..., R, D) -> (..., R, D); projected `time` and `condition` broadcast with `x`."""
        h = self.linear_in(F.silu(self.norm_in(x))) + time + condition
        return self.linear_out(F.silu(self.norm_out(h))) + self.shortcut(x)


class Guidance(NamedTuple):
    """What every step of a chain is told, projected once for each residual block."""

    time: list[Tensor]  # a block each: (T, D), a row a step
    condition: list[Tensor]  # a block each: (B, R, D)


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

    def guide(self, condition: Tensor) -> Guidance:
        """Embed the time table and the condition c, (B, R, D), for all steps of all chains."""
        time = F.silu(self.time())
        embedded = F.silu(self.condition_linear(F.relu(self.condition_norm(condition))))
        blocks: list[DenoiserBlock] = list(self.blocks)  # type: ignore[arg-type]
        return Guidance(
            [block.time(time) for block in blocks],
            [block.condition(embedded) for block in blocks],
        )

    def forward(self, x: Tensor, step: int | Tensor, guidance: Guidance) -> Tensor:
        """Predicted noise, the shape of `x`.

        Args:
            x: x_t, (N, B, R, D) or (B, R, D).
            step: t, for all of `x`, or (N,) int64, one for each slice of the first axis.
            guidance: of the videos' condition.
        """
        h = x
        for block, time, condition in zip(self.blocks, *guidance, strict=True):
            row = time[step]  # (D,), or (N, D)
            h = block(h, row.view(-1, *(1,) * (x.dim() - 2), row.shape[-1]), condition)
        return self.output(h + x)
