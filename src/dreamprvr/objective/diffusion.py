"""L_dre, the denoising error of the textual targets (model.md, section 4.6)."""

from torch import Tensor
from torch.nn import functional as F


def denoising_error(predicted: Tensor, noise: Tensor) -> Tensor:
    """Mean squared error of the predicted noise; nothing is detached.

    Args:
        predicted: (N, B, R, D), N steps.
        noise: the same shape.
    """
    return F.mse_loss(predicted, noise)
