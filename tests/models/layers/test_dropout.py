import math

import pytest
import torch

from dreamprvr.models.layers.dropout import Dropout

COUNT = 200_001  # no multiple of the four masks in a random word


def dropped_entries(p: float, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    return Dropout(p)(torch.ones(COUNT)) == 0


@pytest.mark.parametrize("p", [0.001, 0.2, 0.31, 0.5, 0.9])
def test_share_and_scale(p: float) -> None:
    torch.manual_seed(0)
    found = Dropout(p)(torch.ones(COUNT))
    share = (found == 0).double().mean().item()
    assert abs(share - p) < 5 * math.sqrt(p * (1 - p) / COUNT) + 2**-16
    assert found[found != 0].unique().tolist() == pytest.approx([1 / (1 - p)], rel=1e-3)


def test_entries_are_independent() -> None:
    dropped = dropped_entries(0.31).double()
    for lag in range(1, 9):  # four entries share a random word
        pairs = torch.stack([dropped[lag:], dropped[:-lag]])
        assert abs(torch.corrcoef(pairs)[0, 1]) < 5 / math.sqrt(COUNT)
    for offset in range(4):
        share = dropped[offset::4].mean().item()
        assert abs(share - 0.31) < 5 * math.sqrt(0.31 * 0.69 / (COUNT / 4))


def test_drawn_anew_from_the_generator() -> None:
    torch.manual_seed(0)
    dropout = Dropout(0.5)
    first, second = dropout(torch.ones(COUNT)), dropout(torch.ones(COUNT))
    assert not torch.equal(first, second)
    assert torch.equal(first == 0, dropped_entries(0.5))


@pytest.mark.parametrize("training", [True, False])
def test_nothing_is_dropped_with_zero_or_in_evaluation(training: bool) -> None:
    x = torch.randn(3, 4)
    assert Dropout(0.0).train(training)(x) is x
    assert Dropout(0.5).eval()(x) is x


def test_all_is_dropped_with_one() -> None:
    assert not Dropout(1.0)(torch.randn(3, 4)).any()


@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (2, 3, 5)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_shape_and_dtype_stay(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    found = Dropout(0.5)(torch.ones(shape, dtype=dtype))
    assert (found.shape, found.dtype) == (shape, dtype)
    assert ((found == 0) | (found == 2)).all()


def test_gradient_takes_the_same_mask() -> None:
    x = torch.randn(50, requires_grad=True)
    found = Dropout(0.5)(x)
    found.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad * x.detach(), found.detach())


@pytest.mark.parametrize("p", [-0.1, 1.1])
def test_what_is_no_probability_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match="not between 0 and 1"):
        Dropout(p)


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_relu_is_dropout_of_relu(p: float) -> None:
    x = torch.linspace(-1, 1, 1001)
    x[3] = 0.0
    values = []
    for function in (Dropout(p).relu, lambda y: Dropout(p)(torch.relu(y))):
        torch.manual_seed(0)
        inputs = x.clone().requires_grad_()
        output = function(inputs)
        (gradient,) = torch.autograd.grad(output.sum(), inputs)
        values.append((output.detach(), gradient))
    assert torch.equal(values[0][0], values[1][0])
    assert torch.equal(values[0][1], values[1][1])
