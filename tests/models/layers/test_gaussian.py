import math
from dataclasses import replace

import pytest
import torch
from models.tiny import CONFIG, frozen
from torch import Tensor

from dreamprvr.models.layers.gaussian import (
    AdaptiveAggregation,
    GaussianEncoder,
    fitted_windows,
    gaussian_window,
)

TOKENS = torch.randn(2, 4, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
REGISTERS = torch.randn(2, 2, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
MASK = torch.tensor([[1.0, 1, 1, 1], [1, 1, 0, 0]])


def slow_window(length: int, width: float) -> list[list[float]]:
    sigma = max(width, 0.01) / 9
    window = []
    for i in range(length):
        squares = [(j / (length - 1 or 1) - i / length) ** 2 for j in range(length)]
        # subtracting the nearest first is dividing by the maximum
        row = [math.exp(-(square - min(squares)) / (2 * sigma**2)) for square in squares]
        window.append(row)
    return window


@pytest.mark.parametrize("width", [1e-4, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0])
@pytest.mark.parametrize("length", [1, 2, 5, 32, 128])
def test_window_equals_the_slow_reference(length: int, width: float) -> None:
    # factors below 1e-20 are 0 in ours, far below what float32 scores can show
    expected = torch.tensor(slow_window(length, width))
    window = gaussian_window(length, width)
    assert window.dtype == torch.float32
    torch.testing.assert_close(window, expected, rtol=2e-6, atol=1e-19)
    assert (window.amax(dim=1) == 1).all()


def test_windows_fit_the_length_of_each_video() -> None:
    lengths, widths = (5, 1, 3, 2), (0.5, 5.0)
    mask = (torch.arange(5) < torch.tensor(lengths)[:, None]).double()
    windows = fitted_windows(mask, widths)
    assert windows.shape == (2, 4, 1, 5, 5)
    for video, length in enumerate(lengths):
        for found, width in zip(windows, widths, strict=True):
            expected = torch.tensor(slow_window(length, width), dtype=torch.float64)
            part = found[video, 0, :length, :length]
            torch.testing.assert_close(part, expected, rtol=1e-9, atol=1e-19)


def test_no_factor_is_subnormal() -> None:
    window = gaussian_window(128, 0.25)
    assert (window == 0).any()
    assert window[window > 0].min() > 1e-21


def encoder(registers: int = 2) -> GaussianEncoder:
    return frozen(GaussianEncoder(4, CONFIG, registers))


def slow_branches(module: GaussianEncoder, registers: Tensor, mask: Tensor) -> Tensor:
    """Attention over all of [V ; r], one video and branch at a time; then r is dropped."""
    outputs = []
    for branch, width in zip(module.branches, [None, *CONFIG.gaussian_widths], strict=True):
        window = torch.ones(6, 6, dtype=torch.float64)
        if width is not None:
            window[:4, :4] = gaussian_window(4, width)
        videos = []
        for video in range(2):
            projected = module.register_projection(registers[video])
            joined = torch.cat([TOKENS[video], projected])[None]
            keys = torch.cat([mask[video], torch.ones(2)])[None]
            videos.append(branch(joined, joined, keys, window)[0, :4])
        outputs.append(torch.stack(videos))
    return torch.stack(outputs)


def test_registers_are_keys_of_every_branch_with_factor_one() -> None:
    module = encoder()
    expected = module.aggregation(slow_branches(module, REGISTERS, MASK), MASK)
    ours = module(TOKENS, REGISTERS, MASK)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12)
    assert not torch.allclose(ours, module(TOKENS, 0 * REGISTERS, MASK))


def test_an_encoder_without_registers() -> None:
    module = encoder(registers=0)
    assert module.register_projection is None
    assert module.windows.shape == (3, 4, 4)  # the plain branch has a window of ones
    assert module(TOKENS, None, MASK).shape == TOKENS.shape


def test_mask_of_ones_is_no_mask() -> None:
    module = encoder()
    whole = module(TOKENS, REGISTERS, torch.ones(2, 4))
    torch.testing.assert_close(module(TOKENS, REGISTERS, None), whole, rtol=0, atol=1e-12)


def test_an_encoder_without_windows() -> None:
    module = frozen(GaussianEncoder(4, replace(CONFIG, gaussian_widths=()), 2))
    expected = module.branches[0](
        TOKENS, torch.cat([TOKENS, module.register_projection(REGISTERS)], dim=1)
    )
    torch.testing.assert_close(module(TOKENS, REGISTERS, None), expected)


LENGTH = 4


def aggregation() -> AdaptiveAggregation:
    return frozen(AdaptiveAggregation(LENGTH, CONFIG))


def branches(num: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(num, 2, LENGTH, 16, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("mask", [MASK, None])
def test_aggregation_equals_the_slow_reference(mask: torch.Tensor | None) -> None:
    module, x = aggregation(), branches()
    expected = torch.zeros(2, LENGTH, 16, dtype=torch.float64)
    for b in range(2):
        # the summary counts padding, as the published code does
        rows = [x[g, b, position] for g in range(3) for position in range(LENGTH)]
        summary = torch.stack(rows).sum(0) / len(rows)
        logits = []
        for g in range(3):
            keys = x[g, b][None] if mask is None else x[g, b][None, mask[b] == 1]
            found = module.attention(summary[None, None], context=keys)[0, 0]
            logits.append(module.logits(module.hidden(found).clamp(min=0)))
        for position in range(LENGTH):
            powers = [math.exp(logit[position] / CONFIG.softmax_temperature) for logit in logits]
            for g in range(3):
                expected[b, position] += powers[g] / sum(powers) * x[g, b, position]
    torch.testing.assert_close(module(x, mask), expected, rtol=0, atol=1e-12)


def test_equal_branches_are_kept_and_one_branch_is_copied() -> None:
    one = branches(1)
    torch.testing.assert_close(aggregation()(one, MASK), one[0])
    torch.testing.assert_close(aggregation()(one.expand(5, -1, -1, -1), MASK), one[0])


def test_videos_do_not_see_each_other() -> None:
    module, x = aggregation(), branches()
    changed = torch.cat([x[:, :1], x[:, 1:] + 1], dim=1)
    torch.testing.assert_close(module(changed, MASK)[0], module(x, MASK)[0])
    assert not torch.allclose(module(changed, MASK)[1], module(x, MASK)[1] + 1)
