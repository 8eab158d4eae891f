import pytest
import torch

from dreamprvr.model.attention import attend, key_bias
from dreamprvr.model.fused_attention import fused_attend

GENERATOR = torch.Generator().manual_seed(0)
Q, K, V = (torch.randn(3, 2, 2, rows, 16, generator=GENERATOR) for rows in (5, 7, 7))
WINDOWS = torch.rand(3, 1, 1, 5, 7, generator=GENERATOR)
MASK = torch.tensor([[1.0] * 7, [1, 1, 1, 0, 0, 1, 1]])


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile:UserWarning")
def test_equals_plain_attention(masked: bool) -> None:
    bias = key_bias(MASK if masked else None)
    found, expected = (f(Q, K, V, bias, WINDOWS) for f in (fused_attend, attend))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="FlexAttention trains on CUDA only")
@pytest.mark.parametrize("masked", [True, False])
def test_compiled_gradients_equal_those_of_plain_attention(masked: bool) -> None:
    inputs = [x.cuda().requires_grad_() for x in (Q, K, V)]
    bias, windows = key_bias(MASK.cuda() if masked else None), WINDOWS.cuda()
    ours, theirs = (
        torch.autograd.grad(f(*inputs, bias, windows).square().sum(), inputs)
        for f in (torch.compile(fused_attend), attend)
    )
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
