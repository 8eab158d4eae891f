"""The baseline's attention block against loops over tokens and heads."""

import math

import pytest
import torch
from models.tiny import frozen
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.baseline.attention import (
    AttentionBlock,
    InputProjection,
    MultiHeadAttention,
    PositionEmbedding,
)


def random(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def slow_attention(
    module: MultiHeadAttention, x: Tensor, context: Tensor, visible: Tensor, window: Tensor
) -> Tensor:
    """One video: (L, D), (K, D), (L, K) and (L, K) -> (L, D)."""
    q, k, v = module.query(x), module.key(context), module.value(context)
    size, rows = x.shape[1] // module.num_heads, []
    for i in range(len(x)):
        parts = []
        for head in range(module.num_heads):
            own = slice(head * size, (head + 1) * size)
            scores = [
                (q[i, own] @ k[j, own]).item() / math.sqrt(size) * window[i, j].item()
                for j in range(len(context))
                if visible[i, j]
            ]
            weights = torch.tensor(scores, dtype=x.dtype).softmax(0)
            parts.append(weights @ v[visible[i] > 0, own])
        rows.append(torch.cat(parts))
    return torch.stack(rows)


def test_attention_equals_the_slow_reference() -> None:
    module = frozen(MultiHeadAttention(12, 3))
    x, context, window = random(2, 4, 12), random(2, 6, 12) + 0.1, random(4, 6).abs()
    visible = (random(2, 4, 6) > -0.5).double()
    visible[:, :, 0] = 1  # everybody sees something
    found = module(x, context, visible, window)
    for b in range(2):
        expected = slow_attention(module, x[b], context[b], visible[b], window)
        torch.testing.assert_close(found[b], expected, rtol=0, atol=1e-12)
    everything = slow_attention(module, x[0], context[0], torch.ones(4, 6), torch.ones(4, 6))
    found = module(x, context, None, None)[0]
    torch.testing.assert_close(found, everything, rtol=0, atol=1e-12)


@pytest.mark.parametrize("ratio", [1, 4])
def test_block_is_post_norm(ratio: int) -> None:
    block = frozen(AttentionBlock(12, 3, 0.4, ratio))
    x, context = random(2, 4, 12), random(2, 6, 12)
    h = block.attention_norm(x + block.attention(x, context, None, None))
    widened = F.relu(block.ffn.expand(h))
    assert widened.shape == (2, 4, ratio * 12)
    expected = block.ffn_norm(h + block.ffn.contract(widened))
    torch.testing.assert_close(block(x, context), expected, rtol=0, atol=1e-12)


def test_position_is_added_before_the_norm() -> None:
    module, x = frozen(PositionEmbedding(6, 12, 0.4)), random(2, 4, 12)
    expected = torch.stack([x[:, i] + module.embedding.weight[i] for i in range(4)], dim=1)
    torch.testing.assert_close(module(x), module.norm(expected), rtol=0, atol=1e-12)


def test_projection_ends_in_relu() -> None:
    module, x = frozen(InputProjection(12, 5, 0.4)), random(2, 4, 12)
    expected = module.linear(module.norm(x)).clamp(min=0)
    torch.testing.assert_close(module(x), expected, rtol=0, atol=1e-12)
    assert (expected == 0).any()


@pytest.mark.parametrize("module", [InputProjection(64, 64, 0.25), PositionEmbedding(50, 64, 0.25)])
def test_dropout_is_drawn_in_training(module: nn.Module) -> None:
    x = torch.randn(4, 50, 64)
    assert not torch.equal(module.train()(x), module(x))
    assert torch.equal(module.eval()(x), module(x))
