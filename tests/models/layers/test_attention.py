import math

import pytest
import torch
from models.tiny import frozen, stir
from torch import Tensor, nn
from torch.nn import functional as F

from dreamprvr.models.layers.attention import (
    AttentionBlock,
    MultiHeadAttention,
    attend,
    fused_attend,
    key_bias,
)

X = torch.randn(2, 3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
CONTEXT = torch.randn(2, 5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
MASK = torch.tensor([[1.0, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
WINDOW = torch.rand(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def slow_attention(
    attention: MultiHeadAttention, x: Tensor, context: Tensor, mask: Tensor, window: Tensor
) -> Tensor:
    """One number at a time; a masked key is left out."""
    size = x.shape[-1] // attention.num_heads
    result = torch.zeros_like(x)
    for b in range(len(x)):
        for head in range(attention.num_heads):
            part = slice(head * size, (head + 1) * size)
            for i in range(x.shape[1]):
                q = attention.query(x[b, i])[part]
                keys = [j for j in range(context.shape[1]) if mask[b, j]]
                score = [
                    float(q @ attention.key(context[b, j])[part] / math.sqrt(size) * window[i, j])
                    for j in keys
                ]
                total = sum(math.exp(s) for s in score)
                for s, j in zip(score, keys, strict=True):
                    value = attention.value(context[b, j])[part]
                    result[b, i, part] += math.exp(s) / total * value
    return result


@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("windowed", [True, False])
def test_attention_equals_the_slow_reference(heads: int, masked: bool, windowed: bool) -> None:
    attention = frozen(MultiHeadAttention(8, heads))
    mask, window = MASK if masked else None, WINDOW if windowed else None
    ours = attention(X, CONTEXT, mask, window)
    slow = slow_attention(
        attention,
        X,
        CONTEXT,
        torch.ones_like(MASK) if mask is None else mask,
        torch.ones_like(WINDOW) if window is None else window,
    )
    torch.testing.assert_close(ours, slow, rtol=0, atol=1e-12)


def test_window_multiplies_scores_rather_than_probabilities() -> None:
    attention = frozen(MultiHeadAttention(8, 2))
    # all scores 0: every key weighs the same, however far away it is
    ours = attention(X, CONTEXT, None, torch.zeros_like(WINDOW))
    torch.testing.assert_close(ours, attention.value(CONTEXT).mean(1, keepdim=True).expand_as(X))


@pytest.mark.parametrize("ratio", [1, 4])
def test_block_is_post_norm(ratio: int) -> None:
    block = frozen(AttentionBlock(8, 2, dropout=0.5, ffn_ratio=ratio))
    assert block.ffn.expand.out_features == ratio * 8

    def norm(x: Tensor, layer: nn.LayerNorm) -> Tensor:
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, correction=0) + 1e-5).sqrt()
        return x * layer.weight + layer.bias

    h = norm(X + block.attention(X, CONTEXT, MASK, WINDOW), block.attention_norm)
    expected = norm(h + block.ffn.contract(F.relu(block.ffn.expand(h))), block.ffn_norm)
    torch.testing.assert_close(block(X, CONTEXT, MASK, WINDOW), expected)


def test_block_attends_to_itself_where_it_is_given_no_context() -> None:
    block = frozen(AttentionBlock(8, 2, dropout=0.0))
    torch.testing.assert_close(block(X), block(X, context=X), rtol=0, atol=0)


def test_masked_keys_may_hold_anything() -> None:
    block = frozen(AttentionBlock(8, 2, dropout=0.0))
    garbage = CONTEXT + 1e3 * (1 - MASK[..., None])
    torch.testing.assert_close(block(X, garbage, MASK), block(X, CONTEXT, MASK), rtol=0, atol=1e-12)


def test_dropout_is_drawn_in_training_only() -> None:
    block = frozen(AttentionBlock(8, 2, dropout=0.5))
    assert torch.equal(block(X), block(X))
    block.train()
    assert not torch.allclose(block(X), block(X))


def test_attention_has_no_output_projection() -> None:
    names = {name.split(".")[0] for name, _ in MultiHeadAttention(8, 2).named_parameters()}
    assert names == {"query", "key", "value"}


@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("masked", [True, False])
def test_pooling_equals_attention_of_one_token(heads: int, masked: bool) -> None:
    block = AttentionBlock(8, heads, dropout=0.0).double()
    stir(block)
    mask = MASK if masked else None
    found, expected = (f(X[:, :1], CONTEXT, mask) for f in (block.pool, block))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    names = [name for name, _ in block.named_parameters()]
    ours, theirs = (
        torch.autograd.grad(output.square().sum(), list(block.parameters()))
        for output in (found, expected)
    )
    for name, mine, other in zip(names, ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-10, msg=name)


GENERATOR = torch.Generator().manual_seed(0)
Q, K, V = (torch.randn(3, 2, 2, rows, 16, generator=GENERATOR) for rows in (5, 7, 7))
WINDOWS = torch.rand(3, 1, 1, 5, 7, generator=GENERATOR)
FUSED_MASK = torch.tensor([[1.0] * 7, [1, 1, 1, 0, 0, 1, 1]])


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile:UserWarning")
def test_fused_attention_equals_plain_attention(masked: bool) -> None:
    bias = key_bias(FUSED_MASK if masked else None)
    found, expected = (f(Q, K, V, bias, WINDOWS) for f in (fused_attend, attend))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="FlexAttention trains on CUDA only")
@pytest.mark.parametrize("masked", [True, False])
def test_compiled_gradients_equal_those_of_plain_attention(masked: bool) -> None:
    inputs = [x.cuda().requires_grad_() for x in (Q, K, V)]
    bias, windows = key_bias(FUSED_MASK.cuda() if masked else None), WINDOWS.cuda()
    ours, theirs = (
        torch.autograd.grad(f(*inputs, bias, windows).square().sum(), inputs)
        for f in (torch.compile(fused_attend), attend)
    )
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
