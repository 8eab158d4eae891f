import pytest
import torch
from model.tiny import frozen
from torch import nn

from dreamprvr.model.grouped import grouped_linear, grouped_norm
from dreamprvr.model.layers import LayerNorm

X = torch.randn(3, 2, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_linear_equals_one_layer_after_the_other(groups: int) -> None:
    layers = [frozen(nn.Linear(6, 5)) for _ in range(groups)]
    for g, layer in enumerate(layers):
        layer.weight += g
    expected = torch.stack([layer(X[g]) for g, layer in enumerate(layers)])
    torch.testing.assert_close(grouped_linear(X[:groups], layers), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_norm_equals_one_layer_after_the_other(groups: int) -> None:
    norms = [frozen(LayerNorm(6)) for _ in range(groups)]
    for g, norm in enumerate(norms):
        norm.weight += g
        norm.bias -= g
    expected = torch.stack([norm(X[g]) for g, norm in enumerate(norms)])
    torch.testing.assert_close(grouped_norm(X[:groups], norms), expected, rtol=0, atol=1e-12)


def test_norm_stays_in_float32() -> None:
    norms = [LayerNorm(6), LayerNorm(6)]
    found = grouped_norm(X[:2].bfloat16(), norms)
    assert found.dtype == torch.float32
    exact = torch.stack([norm(X[g].bfloat16().float()) for g, norm in enumerate(norms)])
    torch.testing.assert_close(found, exact)
