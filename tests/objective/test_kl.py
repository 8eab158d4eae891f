import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from dreamprvr.objective.kl import kl_to_standard_normal

MU = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
LOGVAR = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_equals_the_slow_reference() -> None:
    total = 0.0
    for b in range(3):
        for d in range(5):
            mu, logvar = MU[b, d].item(), LOGVAR[b, d].item()
            total += 0.5 * (mu * mu + math.exp(logvar) - 1 - logvar)
    assert kl_to_standard_normal(MU, LOGVAR).item() == pytest.approx(total / 3, rel=1e-12)


def test_equals_torch_distributions() -> None:
    zero = torch.zeros_like(MU)
    expected = kl_divergence(Normal(MU, (LOGVAR / 2).exp()), Normal(zero, zero + 1)).sum(1).mean()
    torch.testing.assert_close(kl_to_standard_normal(MU, LOGVAR), expected)


def test_is_zero_at_the_standard_normal_and_positive_elsewhere() -> None:
    zero = torch.zeros(2, 4)
    assert kl_to_standard_normal(zero, zero).item() == 0
    assert kl_to_standard_normal(zero + 0.1, zero).item() == pytest.approx(4 * 0.005)
    assert kl_to_standard_normal(zero, zero - 0.1).item() > 0
