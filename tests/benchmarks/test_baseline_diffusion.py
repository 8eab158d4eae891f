"""The baseline's denoiser and schedule against the golden vectors and plain formulas."""

import math

import pytest
import torch
from golden import group, settings
from shared import needs_reference

from benchmarks.baseline.diffusion import Denoiser, Schedule


@needs_reference
def test_golden_denoiser() -> None:
    """The training prediction, step by step, from the published target and condition."""
    c, golden = settings()["config"], group("eval")
    denoiser = Denoiser(c["timesteps"], c["hidden_size"], c["num_diffusion_layers"])
    root = "register_sampler.denoiser."
    weights = {k.removeprefix(root): v for k, v in group("state").items() if k.startswith(root)}
    denoiser.load_state_dict(weights)
    schedule = Schedule(c["timesteps"])
    for step, expected in enumerate(group("train")["predicted_noise"]):
        noisy = schedule.add_noise(group("train")["x0"], golden["mu"][:, None], step)
        found = denoiser(noisy, step, golden["condition"])
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


class SlowDiffusion:
    """The DDPM formulas, in numbers."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def alpha_bar(self, step: int) -> float:
        """Product of 1 - beta up to and with `step`; 1 before the first."""
        return math.prod(1 - self.beta(t) for t in range(step + 1))

    def beta(self, step: int) -> float:
        ratio = [
            math.cos(((step + k) / self.steps + 0.008) / 1.008 * math.pi / 2) ** 2 for k in (0, 1)
        ]
        return min(1 - ratio[1] / ratio[0], 0.999)

    def reverse_step(self, x: float, predicted: float, z: float, step: int) -> float:
        a, before, beta = self.alpha_bar(step), self.alpha_bar(step - 1), self.beta(step)
        start = (x - math.sqrt(1 - a) * predicted) / math.sqrt(a)
        start = max(-1.0, min(1.0, start))
        mean = (math.sqrt(before) * beta * start + math.sqrt(1 - beta) * (1 - before) * x) / (1 - a)
        if step == 0:
            return mean
        return mean + math.sqrt(beta * (1 - before) / (1 - a)) * z


@pytest.mark.parametrize("steps", [1, 2, 5, 10])
def test_schedule_equals_the_slow_reference(steps: int) -> None:
    torch.manual_seed(0)
    schedule, slow = Schedule(steps).double(), SlowDiffusion(steps)
    x, predicted, z = torch.randn(3, 1, 2, 8, dtype=torch.float64)
    for step in range(steps):
        a = slow.alpha_bar(step)
        noisy = schedule.add_noise(x, z, step)
        torch.testing.assert_close(noisy, a**0.5 * x + (1 - a) ** 0.5 * z, rtol=0, atol=1e-6)
        found = schedule.reverse_step(x, predicted, z, step).flatten().tolist()
        values = zip(*(part.flatten().tolist() for part in (x, predicted, z)), strict=True)
        expected = [slow.reverse_step(*value, step) for value in values]
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_nothing_is_added_in_the_last_step() -> None:
    schedule, x = Schedule(3), torch.randn(1, 2, 4)
    found = [schedule.reverse_step(x, x, z * torch.ones(1, 2, 4), 0) for z in (0.0, 5.0)]
    assert torch.equal(*found)
    assert not torch.equal(*(schedule.reverse_step(x, x, z * x, 1) for z in (0.0, 5.0)))
