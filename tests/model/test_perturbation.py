import math

import torch
from golden import group
from shared import needs_reference
from torch import Tensor

from dreamprvr.model.perturbation import perturb_text
from dreamprvr.training import mean_per_video

TEXT = torch.randn(2, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) + 0.5


def slow_standardised(row: Tensor) -> Tensor:
    mean = sum(row) / len(row)
    variance = sum((value - mean) ** 2 for value in row) / len(row)
    return torch.stack([(value - mean) / (variance + 1e-5) ** 0.5 for value in row])


@needs_reference
def test_golden_target() -> None:
    labels = group("in")["labels"]
    text = mean_per_video(group("eval")["query"], labels, 6)
    x0 = group("train")["x0"]
    torch.testing.assert_close(perturb_text(text, x0.shape[1], 0.0), x0, rtol=0, atol=1e-5)


def test_without_perturbation() -> None:
    variants = perturb_text(TEXT, 3, 0.0)
    assert variants.shape == (2, 3, 6)
    for b in range(2):
        expected = slow_standardised(TEXT[b]) + TEXT[b].mean()
        for r in range(3):
            torch.testing.assert_close(variants[b, r], expected)


def test_mean_and_spread_of_the_variants() -> None:
    torch.manual_seed(0)
    count, p = 20_000, 0.3
    variants = perturb_text(TEXT, count, p)
    for b in range(2):
        spread = p * math.sqrt(sum((v - TEXT[b].mean()) ** 2 for v in TEXT[b]) / 5)
        standardised = slow_standardised(TEXT[b])
        # alpha s + beta: variances of alpha and beta are independent
        deviation = spread * (standardised**2 + 1).sqrt()
        error = (variants[b].mean(0) - standardised - TEXT[b].mean()).abs()
        assert (error < 5 * deviation / math.sqrt(count)).all()
        assert ((variants[b].std(0) / deviation - 1).abs() < 5 / math.sqrt(2 * count)).all()
        # drawn per register and dimension
        correlation = torch.corrcoef(variants[b].T) - torch.eye(6)
        assert correlation.abs().max() < 5 / math.sqrt(count)


def test_alpha_and_beta_are_constants_to_the_gradient() -> None:
    text, weights = TEXT.clone().requires_grad_(), torch.randn(2, 4, 6, dtype=torch.float64)
    torch.manual_seed(4)
    (ours,) = torch.autograd.grad((weights * perturb_text(text, 4, 0.5)).sum(), text)

    torch.manual_seed(4)
    alpha = 1 + 0.5 * TEXT.std(1)[:, None, None] * torch.randn(2, 4, 6, dtype=torch.float64)
    total = torch.zeros((), dtype=torch.float64)
    for b in range(2):
        for r in range(4):
            total = total + (weights[b, r] * alpha[b, r] * slow_standardised(text[b])).sum()
    (expected,) = torch.autograd.grad(total, text)
    torch.testing.assert_close(ours, expected)
    assert ours.abs().max() > 0.1
