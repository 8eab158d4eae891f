"""Small layers and initial weights (docs/model.md, section 2)."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

STANDARD_DEVIATION = 0.02  # of initial weights
LEVELS = 1 << 16  # a mask entry is drawn with 16 random bits


def at_least_float32(x: Tensor) -> Tensor:
    """Return half precision as float32, and float32 and float64 as they are.

    Softmax, norms, cosines and losses go through this, so mixed precision never reaches them.
    """
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def unit(x: Tensor) -> Tensor:
    """Divide rows by their length, never in half precision; (..., D) -> (..., D).

    A row of zeros stays a row of zeros.
    """
    return F.normalize(at_least_float32(x), dim=-1)


class LayerNorm(nn.LayerNorm):
    """Layer normalisation that stays in float32 under mixed precision.

    Args:
        size: D, size of the last axis.
        decayed: whether the optimiser's weight decay applies to its weight
            (`parameter_groups`). Its bias is never decayed.
    """

    def __init__(self, size: int, decayed: bool = True) -> None:
        super().__init__(size)
        self.decayed = decayed

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis; (..., D) -> (..., D), never in half precision."""
        return F.layer_norm(
            at_least_float32(x), self.normalized_shape, self.weight, self.bias, self.eps
        )


class Dropout(nn.Module):
    """Zeroes entries with probability p and scales the rest by 1 / (1 - p), in training.

    On the CPU torch draws a double for each entry, which took a quarter of a training step here;
    16 bits are enough, so p is rounded to a multiple of 2^-16. Elsewhere this is torch's dropout.

    Args:
        p: probability, from 0 to 1.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"dropout probability {p} is not between 0 and 1")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Any shape; the same shape."""
        if not self._drops():
            return x
        if not self._draws_itself(x):
            return F.dropout(x, self.p, training=True)
        return x * self._factor(x)

    def relu(self, x: Tensor) -> Tensor:
        """Dropout of ReLU(x); on the CPU one factor does both, and one pass their gradient."""
        if not self._drops() or not self._draws_itself(x):
            return self(F.relu(x))
        return x * torch.ops.aten.threshold_backward(self._factor(x), x.detach(), 0)

    def _drops(self) -> bool:
        return self.training and round(self.p * LEVELS) > 0

    def _draws_itself(self, x: Tensor) -> bool:
        whole = round(self.p * LEVELS) == LEVELS
        return x.device.type == "cpu" and not whole and not torch.compiler.is_compiling()

    def _factor(self, x: Tensor) -> Tensor:
        """0 for what is dropped, 1 / (1 - p) for the rest; of the shape and type of `x`."""
        dropped = round(self.p * LEVELS)
        # numpy's generator, seeded by torch's, is twice as fast as torch's own
        seed = int(torch.randint(2**63 - 1, ()))
        words = np.random.SFC64(seed).random_raw((x.numel() + 3) // 4)
        bits = torch.from_numpy(words.view(np.int16))[: x.numel()]  # uniform in [-2^15, 2^15)
        keep = (bits >= dropped - LEVELS // 2).view(x.shape)
        # by way of int8: torch converts bool to float one entry at a time, ten times slower
        return keep.view(torch.int8).to(x.dtype).mul_(LEVELS / (LEVELS - dropped))

    def extra_repr(self) -> str:
        """Shown by print."""
        return f"p={self.p}"


class InputProjection(nn.Module):
    """LayerNorm(in) -> Dropout -> Linear(in, D) -> ReLU."""

    def __init__(self, in_size: int, hidden_size: int, dropout: float) -> None:
        super().__init__()
        self.norm = LayerNorm(in_size, decayed=False)
        self.dropout = Dropout(dropout)
        self.linear = nn.Linear(in_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., D)."""
        return F.relu(self.linear(self.dropout(self.norm(x))))


class PositionEmbedding(nn.Module):
    """Adds a learned embedding of the position, then LayerNorm and Dropout."""

    def __init__(self, max_length: int, hidden_size: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(max_length, hidden_size)
        self.norm = LayerNorm(hidden_size, decayed=False)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D), L at most `max_length`."""
        return self.dropout(self.norm(x + self.embedding.weight[: x.shape[1]]))


class FeedForward(nn.Module):
    """Linear(D, r D) -> ReLU -> Dropout -> Linear(r D, D)."""

    def __init__(self, hidden_size: int, ratio: int, dropout: float) -> None:
        super().__init__()
        self.expand = nn.Linear(hidden_size, ratio * hidden_size)
        self.dropout = Dropout(dropout)
        self.contract = nn.Linear(ratio * hidden_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return self.contract(self.dropout.relu(self.expand(x)))


def sinusoidal_table(length: int, size: int) -> Tensor:
    """Make sinusoidal position codes: sines in the even columns, cosines in the odd ones.

    Args:
        length: number of positions, from 0.
        size: number of columns; even.

    Returns:
        (length, size) float32.
    """
    rate = torch.exp(torch.arange(0, size, 2) * (-torch.log(torch.tensor(10000.0)) / size))
    angle = torch.arange(length)[:, None] * rate  # (length, size / 2)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)


def initialize(network: nn.Module) -> None:
    """Draw the initial weights of a network (docs/model.md, section 8).

    Linear and Embedding N(0, 0.02), biases 0; the GRU Xavier, orthogonal, 0; LayerNorm 1, 0.
    Parameters that stand alone, such as learned tokens, keep the values that their module gave
    them. The denoiser's frozen time table is an Embedding, so it is drawn too, as in the published
    code; `time_table: sinusoidal` sets it afterwards. On the device `meta`, where only names and
    shapes are asked for, nothing is drawn.
    """
    if any(parameter.is_meta for parameter in network.parameters()):
        return
    for module in network.modules():
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=STANDARD_DEVIATION)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, nn.GRU):
            _initialize_gru(module)


def _initialize_gru(gru: nn.GRU) -> None:
    for name, parameter in gru.named_parameters():
        if name.startswith("weight_ih"):
            nn.init.xavier_uniform_(parameter)
        elif name.startswith("weight_hh"):
            nn.init.orthogonal_(parameter)
        else:
            nn.init.zeros_(parameter)


def parameter_groups(network: nn.Module) -> list[dict[str, Any]]:
    """Split the trainable parameters into two groups: with the optimiser's decay, and without.

    Not decayed: every bias (the GRU's included), and the LayerNorms that say so, which are those
    of input projections and position embeddings. The LayerNorms of attention blocks, sampler and
    denoiser are decayed (docs/model.md, section 8).
    """
    exempt_norms = {
        id(parameter)
        for module in network.modules()
        if isinstance(module, LayerNorm) and not module.decayed
        for parameter in module.parameters()
    }
    decayed: list[nn.Parameter] = []
    exempt: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        is_bias = name.rsplit(".", 1)[-1].startswith("bias")
        (exempt if is_bias or id(parameter) in exempt_norms else decayed).append(parameter)
    return [{"params": decayed}, {"params": exempt, "weight_decay": 0.0}]
