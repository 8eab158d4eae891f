"""Dropout whose masks are cheap on the CPU."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEVELS = 1 << 16  # a mask entry is drawn with 16 random bits


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
