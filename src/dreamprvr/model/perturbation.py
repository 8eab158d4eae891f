"""The textual perturbation sampler (model.md, section 4.6)."""

import torch
from einops import repeat
from torch import Tensor
from torch.nn import functional as F

EPSILON = 1e-5


def perturb_text(text: Tensor, num_registers: int, perturbation: float) -> Tensor:
    """Variants of each video's mean query embedding: the registers' training target x_0.

    Each row is standardised over its D entries, scaled by alpha ~ N(1, (p s)^2) and shifted by
    beta ~ N(row mean, (p s)^2), s the row's standard deviation, drawn per register and dimension.
    alpha and beta are constants to the gradient.

    Args:
        text: m, (B, D), the mean of the embeddings of each video's queries.
        num_registers: R.
        perturbation: p; 0 gives R times the standardised row plus its mean.

    Returns:
        (B, R, D).
    """
    rows = repeat(text, "b d -> b r d", r=num_registers)
    mean, deviation = rows.mean(-1, keepdim=True), rows.std(-1, keepdim=True)
    standardised = F.layer_norm(rows, rows.shape[-1:], eps=EPSILON)
    spread = perturbation * deviation.detach()
    alpha = 1 + spread * torch.randn_like(rows)
    beta = mean.detach() + spread * torch.randn_like(rows)
    return alpha * standardised + beta
