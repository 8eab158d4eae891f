import math

import pytest
import torch
from torch.nn import functional as F

from dreamprvr.model.layers import (
    FeedForward,
    InputProjection,
    LayerNorm,
    PositionEmbedding,
    full,
    sinusoidal_table,
)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_becomes_float32(dtype: torch.dtype) -> None:
    assert full(torch.ones(1, dtype=dtype)).dtype == torch.float32
    assert LayerNorm(4)(torch.randn(2, 4).to(dtype)).dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_full_precision_stays(dtype: torch.dtype) -> None:
    x = torch.ones(1, dtype=dtype)
    assert full(x) is x


def test_layer_norm() -> None:
    norm, x = LayerNorm(3), torch.tensor([[1.0, 2.0, 6.0]])
    norm.weight.data = torch.tensor([1.0, 2.0, 3.0])
    norm.bias.data = torch.tensor([0.0, 0.5, 0.0])
    deviation = math.sqrt((4 + 1 + 9) / 3 + 1e-5)
    expected = torch.tensor([[-2 / deviation, -2 / deviation + 0.5, 9 / deviation]])
    torch.testing.assert_close(norm(x), expected)


def test_input_projection_order() -> None:
    projection, x = InputProjection(4, 6, dropout=0.5), torch.randn(3, 4)
    projection.linear.bias.data.normal_()
    normed = F.layer_norm(x, (4,))
    torch.testing.assert_close(projection.eval()(x), F.relu(projection.linear(normed)))
    projection.train()
    torch.manual_seed(1)
    dropped = F.relu(projection.linear(projection.dropout(normed)))  # before the Linear
    torch.manual_seed(1)
    torch.testing.assert_close(projection(x), dropped)


def test_position_embedding_takes_the_first_rows() -> None:
    position, x = PositionEmbedding(5, 4, dropout=0.0), torch.randn(2, 3, 4)
    for i in range(3):
        expected = F.layer_norm(x[:, i] + position.embedding.weight[i], (4,))
        torch.testing.assert_close(position(x)[:, i], expected)


def test_feed_forward() -> None:
    ffn, x = FeedForward(4, 3, dropout=0.5).eval(), torch.randn(2, 4)
    assert ffn.expand.weight.shape == (12, 4)
    torch.testing.assert_close(ffn(x), ffn.contract(ffn.expand(x).clamp(min=0)))


def test_sinusoidal_table_interleaves_sines_and_cosines() -> None:
    table = sinusoidal_table(7, 6)
    for position in range(7):
        for i in range(3):
            angle = position / 10000 ** (2 * i / 6)
            assert float(table[position, 2 * i]) == pytest.approx(math.sin(angle), abs=1e-6)
            assert float(table[position, 2 * i + 1]) == pytest.approx(math.cos(angle), abs=1e-6)
