import pytest
import torch

from dreamprvr.objective.diffusion import denoising_error


def test_mean_square_over_everything_with_both_sides_in_the_gradient() -> None:
    predicted = torch.randn(2, 3, 2, 4, dtype=torch.float64, requires_grad=True)
    noise = torch.randn(2, 3, 2, 4, dtype=torch.float64, requires_grad=True)
    loss = denoising_error(predicted, noise)
    pairs = zip(predicted.flatten().tolist(), noise.flatten().tolist(), strict=True)
    assert loss.item() == pytest.approx(sum((a - b) ** 2 for a, b in pairs) / 48, rel=1e-12)
    loss.backward()
    assert predicted.grad is not None
    assert noise.grad is not None
    torch.testing.assert_close(predicted.grad, -noise.grad)
