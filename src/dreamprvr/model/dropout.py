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
        dropped = round(self.p * LEVELS)
        if not self.training or dropped == 0:
            return x
        if x.device.type != "cpu" or dropped == LEVELS or torch.compiler.is_compiling():
            return F.dropout(x, self.p, training=True)
        # numpy's generator, seeded by torch's, is twice as fast as torch's own
        seed = int(torch.randint(2**63 - 1, ()))
        words = np.random.SFC64(seed).random_raw((x.numel() + 3) // 4)
        bits = torch.from_numpy(words.view(np.int16))[: x.numel()]  # uniform in [-2^15, 2^15)
        keep = (bits >= dropped - LEVELS // 2).view(x.shape)
        # by way of int8: torch converts bool to float one entry at a time, ten times slower
        factor = keep.view(torch.int8).to(x.dtype).mul_(LEVELS / (LEVELS - dropped))
        return x * factor

    def extra_repr(self) -> str:
        """Shown by print."""
        return f"p={self.p}"
