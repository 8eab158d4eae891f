import math
from dataclasses import replace

import pytest
import torch
from model.tiny import CONFIG, frozen
from torch import Tensor

from dreamprvr.model.gaussian_attention import GaussianEncoder, gaussian_window

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


def test_no_factor_is_subnormal() -> None:
    window = gaussian_window(128, 0.25)
    assert (window == 0).any()
    assert window[window > 0].min() > 1e-21


def encoder(registers: int = 2) -> GaussianEncoder:
    return frozen(GaussianEncoder(4, replace(CONFIG, num_registers=registers)))


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


def test_without_registers() -> None:
    module = encoder(registers=0)
    assert module.register_projection is None
    assert module.windows.shape == (3, 4, 4)  # the plain branch has a window of ones
    assert module(TOKENS, None, MASK).shape == TOKENS.shape


def test_mask_of_ones_is_no_mask() -> None:
    module = encoder()
    whole = module(TOKENS, REGISTERS, torch.ones(2, 4))
    torch.testing.assert_close(module(TOKENS, REGISTERS, None), whole, rtol=0, atol=1e-12)


def test_plain_attention_alone() -> None:
    module = frozen(GaussianEncoder(4, replace(CONFIG, gaussian_widths=())))
    expected = module.branches[0](
        TOKENS, torch.cat([TOKENS, module.register_projection(REGISTERS)], dim=1)
    )
    torch.testing.assert_close(module(TOKENS, REGISTERS, None), expected)
