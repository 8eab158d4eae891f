"""The baseline's Gaussian attention and aggregation against loops over positions."""

import math
from dataclasses import replace

import pytest
import torch
from models.tiny import CONFIG, frozen
from torch import Tensor
from torch.nn import functional as F

from benchmarks.baseline.gaussian import AdaptiveAggregation, GaussianEncoder, gaussian_window


def random(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("length", [2, 32, 128])
@pytest.mark.parametrize("width", [0.25, 1.0, 16.0])
def test_window_is_the_formula_and_1_at_registers(length: int, width: float) -> None:
    window, s = gaussian_window(length, width, 3), width / 9
    for i in range(length):
        row = [
            math.exp(-((j / (length - 1) - i / length) ** 2) / (2 * s**2)) for j in range(length)
        ]
        expected = [value / max(row) for value in row]
        assert window[i, :length].tolist() == pytest.approx(expected, rel=1e-6, abs=1e-30)
    assert (window[length:] == 1).all()
    assert (window[:, length:] == 1).all()
    assert window.dtype == torch.float32


def test_aggregation_equals_the_slow_reference() -> None:
    module = frozen(AdaptiveAggregation(8, CONFIG))
    branches, mask = [random(2, 8, 16) * scale for scale in (1, -2, 3)], torch.ones(2, 8)
    mask[1, 3:] = 0
    found = module(branches, mask)
    for b in range(2):
        summary = sum(branch[b].sum(0) for branch in branches) / (3 * 8)
        logits = []
        for branch in branches:
            valid = branch[b, mask[b] > 0][None]
            token = module.attention(summary[None, None], valid)[0, 0]
            logits.append(module.logits(F.relu(module.hidden(token))))
        for i in range(8):
            weights = (torch.stack([row[i] for row in logits]) / module.temperature).softmax(0)
            expected = sum(w * branch[b, i] for w, branch in zip(weights, branches, strict=True))
            torch.testing.assert_close(found[b, i], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("registers", [0, 2])
def test_encoder_aggregates_its_blocks_over_what_is_valid(registers: int) -> None:
    encoder = frozen(GaussianEncoder(8, replace(CONFIG, num_registers=registers)))
    tokens, sample = random(1, 8, 16), random(1, registers, 16) + 1 if registers else None
    count, mask = 3, torch.tensor([[1.0, 1, 1, 0, 0, 0, 0, 0]], dtype=torch.float64)
    # the valid rows alone ask and are asked, without any mask
    context, seen = tokens[:, :count], [*range(count), *range(8, 8 + registers)]
    if sample is not None:
        context = torch.cat([context, encoder.register_projection(sample)], dim=1)
    windows = [None, *(gaussian_window(8, w, registers) for w in CONFIG.gaussian_widths)]
    branches = []
    for block, window in zip(encoder.branches, windows, strict=True):
        part = None if window is None else window[:count][:, seen]
        branches.append(block(tokens[:, :count], context, None, part))
    outputs: list[Tensor] = []
    encoder.aggregation.register_forward_pre_hook(lambda _, inputs: outputs.extend(inputs[0]))
    encoded = encoder(tokens, sample, mask)
    assert len(outputs) == len(branches) == 3
    for output, expected in zip(outputs, branches, strict=True):
        torch.testing.assert_close(output[:, :count], expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(encoded, encoder.aggregation(outputs[:3], mask))


def test_registers_see_the_videos_tokens_only() -> None:
    encoder = GaussianEncoder(3, replace(CONFIG, num_registers=2))
    visible = encoder._visible(torch.tensor([[1.0, 1, 0]]))[0]
    assert visible[:3].tolist() == [[1, 1, 0, 1, 1]] * 3
    assert visible[3:].tolist() == [[1, 1, 0, 0, 0]] * 2
