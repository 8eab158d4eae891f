import math

import pytest
import torch
from counted import Counted
from torch import Tensor

from dreamprvr.training.optimizer import BertAdam, warmup_factor, warmup_schedule

SHAPES = [(3, 4), (5,), (), (2, 1, 2)]


class SlowBertAdam:
    """One tensor, in plain formulas."""

    def __init__(self, start: Tensor, lr: float, decay: float, clip: float) -> None:
        self.p, self.lr, self.decay, self.clip = start.clone(), lr, decay, clip
        self.m = self.v = torch.zeros_like(start)

    def step(self, gradient: Tensor) -> None:
        norm = math.sqrt(sum(g * g for g in gradient.flatten().tolist()))
        if self.clip > 0 and norm > self.clip:
            gradient = gradient * self.clip / (norm + 1e-6)
        self.m = 0.9 * self.m + 0.1 * gradient
        self.v = 0.999 * self.v + 0.001 * gradient * gradient
        self.p = self.p - self.lr * (self.m / (self.v.sqrt() + 1e-6) + self.decay * self.p)


def gradients(step: int) -> list[Tensor]:
    """From far below to far above the clipping norm."""
    generator = torch.Generator().manual_seed(step)
    return [
        0.05 * 10**step * torch.randn(shape, generator=generator, dtype=torch.float64)
        for shape in SHAPES
    ]


@pytest.mark.parametrize("clip", [1.0, 0.2, 0.0, -1.0])
def test_equals_the_slow_reference_over_several_steps_and_groups(clip: float) -> None:
    parameters = [p.requires_grad_() for p in gradients(0)]
    groups = [
        {"params": parameters[:2]},
        {"params": parameters[2:], "weight_decay": 0.0, "lr": 0.03},
    ]
    optimizer = BertAdam(groups, lr=0.01, weight_decay=0.1, max_grad_norm=clip)
    slow = [SlowBertAdam(p.detach(), 0.01, 0.1, clip) for p in parameters[:2]]
    slow += [SlowBertAdam(p.detach(), 0.03, 0.0, clip) for p in parameters[2:]]
    for step in range(4):
        for p, reference, gradient in zip(parameters, slow, gradients(step), strict=True):
            p.grad = gradient.clone()
            reference.step(gradient)
        optimizer.step()
        for p, reference, gradient in zip(parameters, slow, gradients(step), strict=True):
            torch.testing.assert_close(p.detach(), reference.p, rtol=0, atol=1e-12)
            assert p.grad is not None
            assert torch.equal(p.grad, gradient)  # clipping leaves the gradient itself alone


def test_first_step_has_no_bias_correction() -> None:
    p = torch.zeros((), dtype=torch.float64, requires_grad=True)
    p.grad = torch.tensor(0.5, dtype=torch.float64)
    BertAdam([p], lr=1.0).step()
    # with bias correction it would be about 1
    assert -p.item() == pytest.approx(0.1 * 0.5 / (math.sqrt(0.001) * 0.5 + 1e-6), rel=1e-12)


def test_decay_is_decoupled_and_scaled_by_the_rate() -> None:
    p = torch.full((2,), 3.0, requires_grad=True)
    p.grad = torch.zeros(2)
    BertAdam([p], lr=0.1, weight_decay=0.2).step()
    torch.testing.assert_close(p.detach(), torch.full((2,), 3 * (1 - 0.02)))


def test_tensors_without_a_gradient_stay() -> None:
    still, moved = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    optimizer = BertAdam([still, moved], lr=0.1)
    moved.grad = torch.ones(2)
    optimizer.step()
    assert torch.equal(still.detach(), torch.ones(2))
    assert still not in optimizer.state
    assert (moved < 1).all()
    moved.grad = None
    optimizer.step()  # nothing to do at all


def test_closure_runs_with_gradients_and_its_loss_is_returned() -> None:
    p = torch.tensor(2.0, requires_grad=True)
    optimizer = BertAdam([p], lr=0.1, weight_decay=0.0)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = p * p
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 4
    assert p.item() < 2
    assert optimizer.step() is None


def test_state_can_be_saved_and_restored() -> None:
    def run(optimizer: BertAdam, p: Tensor, steps: range) -> None:
        for step in steps:
            p.grad = gradients(step)[0]
            optimizer.step()

    whole = torch.ones(3, 4, dtype=torch.float64, requires_grad=True)
    run(BertAdam([whole], lr=0.01), whole, range(4))
    halves = torch.ones(3, 4, dtype=torch.float64, requires_grad=True)
    first, second = BertAdam([halves], lr=0.01), BertAdam([halves], lr=0.5)
    run(first, halves, range(2))
    second.load_state_dict(first.state_dict())
    run(second, halves, range(2, 4))
    assert torch.equal(whole, halves)


@pytest.mark.parametrize(
    "wrong", [{"lr": -1.0}, {"eps": -1.0}, {"weight_decay": -0.1}, {"betas": (0.9, 1.0)}]
)
def test_impossible_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        BertAdam([torch.ones(1, requires_grad=True)], **wrong)


def test_operations_do_not_grow_with_the_number_of_tensors() -> None:
    found = []
    for number in (2, 20):
        parameters = [torch.ones(3, requires_grad=True) for _ in range(number)]
        optimizer = BertAdam(parameters)
        for _ in range(2):  # the first makes the moments
            for p in parameters:
                p.grad = torch.ones(3)
            with Counted() as counted:
                optimizer.step()
        found.append(counted.operations)
    assert found[0] == found[1]
    assert all(name.startswith(("aten._foreach", "profiler")) for name in found[0])


def test_values() -> None:
    rates = [warmup_factor(step, 8, 0.25) for step in range(10)]
    expected = [0, 1 / 2, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6, 0, 0]
    assert rates == pytest.approx(expected, abs=1e-12)


def test_published_share_of_one_percent() -> None:
    rates = [warmup_factor(step, 1000, 0.01) for step in range(1000)]
    assert rates[0] == 0
    assert rates[5] == pytest.approx(0.5)
    assert max(rates) == rates[10] == 1
    assert rates[505] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("warmup", "expected"), [(0.0, [1, 0.75, 0.5, 0.25, 0]), (1.0, [0, 0.25, 0.5, 0.75, 1])]
)
def test_a_schedule_of_warmup_or_of_decay_alone(warmup: float, expected: list[float]) -> None:
    assert [warmup_factor(step, 4, warmup) for step in range(5)] == pytest.approx(expected)


def test_no_steps_at_all() -> None:
    assert warmup_factor(0, 0, 0.1) == 0


def test_schedule_sets_the_rate_of_every_group() -> None:
    a, b = torch.ones(1, requires_grad=True), torch.ones(1, requires_grad=True)
    optimizer = BertAdam([{"params": [a]}, {"params": [b], "lr": 0.2}], lr=0.1)
    schedule, rates = warmup_schedule(optimizer, 4, 0.5), []
    for _ in range(4):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    assert rates == [pytest.approx([f * 0.1, f * 0.2]) for f in (0, 0.5, 1, 0.5)]


def test_a_cosine_falls_to_a_tenth() -> None:
    rates = [warmup_factor(step, 100, 0.2, "cosine") for step in range(101)]
    assert rates[:21] == pytest.approx([step / 20 for step in range(21)])
    assert rates[40] == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2)
    assert rates[60] == pytest.approx(0.55)
    assert rates[100] == pytest.approx(0.1)
