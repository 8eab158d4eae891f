import math

import pytest
import torch
from models.tiny import CONFIG, frozen
from torch import Tensor

from dreamprvr.models.hlformer.lorentz import (
    LorentzAttention,
    LorentzGaussianEncoder,
    LorentzLinear,
    lift,
    to_tangent,
)

GENERATOR = torch.Generator().manual_seed(0)
VECTORS = torch.randn(3, 4, 7, dtype=torch.float64, generator=GENERATOR)
TOKENS = torch.randn(2, 5, 16, dtype=torch.float64, generator=GENERATOR)
MASK = torch.tensor([[1.0, 1, 1, 1, 1], [1, 1, 0, 0, 0]])


def lorentz_product(a: Tensor, b: Tensor) -> Tensor:
    return -a[..., 0] * b[..., 0] + (a[..., 1:] * b[..., 1:]).sum(dim=-1)


def attention() -> LorentzAttention:
    return frozen(LorentzAttention(16, 2, 7, 0.0))


def test_lifted_vectors_lie_on_the_hyperboloid_and_come_back() -> None:
    points = lift(VECTORS)
    assert points.shape == (3, 4, 8)
    torch.testing.assert_close(lorentz_product(points, points), -torch.ones(3, 4).double())
    torch.testing.assert_close(points[..., 0], VECTORS.norm(dim=-1).cosh())
    torch.testing.assert_close(to_tangent(points), VECTORS)


def test_a_linear_layer_gives_a_point_of_the_hyperboloid_for_each_head() -> None:
    layer = frozen(LorentzLinear(8, 2, 0.0))
    heads = layer(lift(VECTORS))
    assert heads.shape == (3, 2, 4, 4)
    torch.testing.assert_close(lorentz_product(heads, heads), -torch.ones(3, 2, 4).double())
    assert (heads[..., 0] > 1.1).all()
    assert (heads[..., 0] < 1.1 + layer.log_scale.exp()).all()


def slow_head(module: LorentzAttention, head: int, video: int, window: Tensor) -> Tensor:
    """The centroids of one head and video, one query at a time."""
    rows = module.log_scale.exp() * module.input_projection(TOKENS[video : video + 1])
    q, k, v = (layer(lift(rows))[0, head] for layer in (module.query, module.key, module.value))
    centroids = []
    for i in range(5):
        powers = []
        for j in range(5):
            product = -q[i, 0] * k[j, 0] + sum(q[i, n] * k[j, n] for n in range(1, 4))
            score = ((2 + 2 * product) / module.divisor + module.bias) * window[i, j]
            powers.append(math.exp(score) if MASK[video, j] else 0.0)
        mean = sum(power / sum(powers) * v[j] for j, power in enumerate(powers))
        centroids.append(mean / lorentz_product(mean, mean).abs().sqrt())
    return torch.stack(centroids)


def test_attention_equals_the_slow_reference() -> None:
    module, window = attention(), torch.rand(5, 5, dtype=torch.float64, generator=GENERATOR)
    found = module(TOKENS, TOKENS, MASK, window)
    for video in range(2):
        joined = torch.cat([slow_head(module, head, video, window) for head in range(2)], dim=1)
        tangent = to_tangent(joined) / module.log_scale.exp()
        expected = module.output_projection(tangent)
        torch.testing.assert_close(found[video], expected, rtol=0, atol=1e-9)


def test_queries_and_keys_may_be_of_different_tokens() -> None:
    module = attention()
    whole = module(TOKENS, TOKENS, None, None)
    part = module(TOKENS[:, :2], TOKENS, None, None)
    torch.testing.assert_close(part, whole[:, :2])


@pytest.mark.parametrize("size", [0.0, 1e-6, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_any_size_of_vectors_stays_finite(size: float, dtype: torch.dtype) -> None:
    """Also of the tokens that a layer normalisation and ReLU turn into zeros."""
    module = attention().float().requires_grad_(True)
    module.input_projection.linear.weight.data *= size
    module.input_projection.linear.bias.data *= size
    tokens = TOKENS.float().requires_grad_()
    with torch.autocast("cpu", dtype, enabled=dtype is torch.bfloat16):
        found = module(tokens, tokens, MASK, None)
    found.float().square().sum().backward()
    assert found.isfinite().all()
    for tensor in (tokens, *module.parameters()):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()


def test_half_precision_is_near_full_precision() -> None:
    module = attention().float()
    exact = module(TOKENS.float(), TOKENS.float(), MASK, None)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = module(TOKENS.float(), TOKENS.float(), MASK, None)
    assert (rounded.float() - exact).norm() < 0.05 * exact.norm()


def test_the_scale_is_kept_at_one_or_below() -> None:
    module = attention()
    for given, kept in ((0.5, 0.0), (-0.5, -0.5)):
        module.log_scale.data.fill_(given)
        module.constrain()
        assert module.log_scale == kept


def test_registers_are_keys_of_the_lorentz_branches() -> None:
    def encoder(registers: int) -> LorentzGaussianEncoder:
        return frozen(LorentzGaussianEncoder(5, CONFIG, registers, lorentz_size=7))

    registers = torch.randn(2, 2, 16, dtype=torch.float64, generator=GENERATOR)
    module = encoder(2)
    outputs = []
    for each in (registers, registers.flip(2)):
        context = torch.cat([TOKENS, each], dim=1)
        outputs.append(module.branch_outputs(TOKENS, context, None))
    assert outputs[0].shape == (6, 2, 5, 16)
    changed = (outputs[0] - outputs[1]).abs().amax(dim=(1, 2, 3))
    assert (changed > 1e-12).all()
    found = encoder(0)(TOKENS, None, MASK)
    assert found.shape == TOKENS.shape
