"""Kullback-Leibler term of the variational sampler (model.md, section 7)."""

from torch import Tensor


def kl_to_standard_normal(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mu, exp(logvar)) || N(0, I)), summed over dimensions, averaged over videos.

    Args:
        mu: (B, D).
        logvar: (B, D).
    """
    return (0.5 * (mu**2 + logvar.exp() - 1 - logvar)).sum(dim=-1).mean()
