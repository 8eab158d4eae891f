"""Small layers (docs/model.md, section 2), initial weights and parameter groups (section 8)."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

STANDARD_DEVIATION = 0.02  # that of the initial weights
LEVELS = 1 << 16  # an entry of a dropout mask is drawn with 16 random bits


def at_least_float32(x: Tensor) -> Tensor:
    """Return half precision as float32, and float32 and float64 as they are.

    Softmax, norms, cosines and losses call this on their inputs, so that they never run in half
    precision.
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
        decayed: True if the optimiser's weight decay applies to its weight (`parameter_groups`).
            Its bias is never decayed.
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
    """Dropout: in training, zeroes entries with probability p and divides the rest by 1 - p.

    On the CPU, torch draws a double for each entry, which took a quarter of a training step. Here
    16 bits are drawn for each, so that p is rounded to a multiple of 2^-16. On other devices this
    is torch's dropout.

    Args:
        p: probability, from 0 to 1.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"dropout probability {p} is not between 0 and 1")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Drop entries of a tensor of any shape."""
        if not self._drops():
            return x
        if not self._draws_itself(x):
            return F.dropout(x, self.p, training=True)
        return x * self._factor(x)

    def relu(self, x: Tensor) -> Tensor:
        """Apply ReLU, then dropout; on the CPU as one product, which has a faster gradient."""
        if not self._drops() or not self._draws_itself(x):
            return self(F.relu(x))
        return x * torch.ops.aten.threshold_backward(self._factor(x), x.detach(), 0)

    def _drops(self) -> bool:
        return self.training and round(self.p * LEVELS) > 0

    def _draws_itself(self, x: Tensor) -> bool:
        whole = round(self.p * LEVELS) == LEVELS
        return x.device.type == "cpu" and not whole and not torch.compiler.is_compiling()

    def _factor(self, x: Tensor) -> Tensor:
        """Draw 0 or 1 / (1 - p) for each entry; the result has the shape and type of `x`."""
        dropped = round(self.p * LEVELS)
        # numpy's generator, seeded by torch's, is twice as fast as torch's own
        seed = int(torch.randint(2**63 - 1, ()))
        words = np.random.SFC64(seed).random_raw((x.numel() + 3) // 4)
        bits = torch.from_numpy(words.view(np.int16))[: x.numel()]  # uniform in [-2^15, 2^15)
        keep = (bits >= dropped - LEVELS // 2).view(x.shape)
        # torch converts int8 to float ten times faster than bool
        return keep.view(torch.int8).to(x.dtype).mul_(LEVELS / (LEVELS - dropped))

    def extra_repr(self) -> str:
        """Describe the module for print."""
        return f"p={self.p}"


class InputProjection(nn.Module):
    """Input projection: LayerNorm, Dropout, Linear(in, D), ReLU.

    Args:
        in_size: size of a feature.
        hidden_size: D.
        dropout: dropout probability.
    """

    def __init__(self, in_size: int, hidden_size: int, dropout: float) -> None:
        super().__init__()
        self.norm = LayerNorm(in_size, decayed=False)
        self.dropout = Dropout(dropout)
        self.linear = nn.Linear(in_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """Project features; (..., in) -> (..., D)."""
        return F.relu(self.linear(self.dropout(self.norm(x))))


class PositionEmbedding(nn.Module):
    """Adds a learned embedding of the position, then LayerNorm and Dropout.

    Args:
        max_length: largest number of tokens.
        hidden_size: D.
        dropout: dropout probability.
    """

    def __init__(self, max_length: int, hidden_size: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(max_length, hidden_size)
        self.norm = LayerNorm(hidden_size, decayed=False)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Add the positions to tokens; (B, L, D) -> (B, L, D), L at most `max_length`."""
        return self.dropout(self.norm(x + self.embedding.weight[: x.shape[1]]))


class FeedForward(nn.Module):
    """Feed-forward layer: Linear(D, r D), ReLU, Dropout, Linear(r D, D).

    Args:
        hidden_size: D.
        ratio: r.
        dropout: dropout probability.
    """

    def __init__(self, hidden_size: int, ratio: int, dropout: float) -> None:
        super().__init__()
        self.expand = nn.Linear(hidden_size, ratio * hidden_size)
        self.dropout = Dropout(dropout)
        self.contract = nn.Linear(ratio * hidden_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """Transform tokens; (..., D) -> (..., D)."""
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

    Weights of Linear and Embedding are drawn from N(0, 0.02), and their biases are 0. The GRU gets
    Xavier weights for its inputs, orthogonal ones for its states, and biases 0. LayerNorms keep 1
    and 0. Parameters that stand alone, such as learned tokens, keep the values that their module
    gave them. The denoiser's frozen time table is an Embedding, so it is drawn too, as in the
    published code; `time_table: sinusoidal` sets it afterwards. On the device `meta`, which holds
    only names and shapes, nothing is drawn.
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
    """Split the trainable parameters into those with weight decay and those without.

    Biases are not decayed, nor are the LayerNorms with `decayed=False`, which are those of the
    input projections and position embeddings. The LayerNorms of attention blocks, sampler and
    denoiser are decayed (docs/model.md, section 8).

    Returns:
        Two groups for an optimiser. The first leaves the decay to the optimiser; the second sets
        it to 0.
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
