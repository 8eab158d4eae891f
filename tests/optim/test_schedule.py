import pytest
import torch

from dreamprvr.optim.bert_adam import BertAdam
from dreamprvr.optim.schedule import warmup_linear, warmup_linear_schedule


def test_values() -> None:
    rates = [warmup_linear(step, 8, 0.25) for step in range(10)]
    expected = [0, 1 / 2, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6, 0, 0]
    assert rates == pytest.approx(expected, abs=1e-12)


def test_published_share_of_one_percent() -> None:
    rates = [warmup_linear(step, 1000, 0.01) for step in range(1000)]
    assert rates[0] == 0
    assert rates[5] == pytest.approx(0.5)
    assert max(rates) == rates[10] == 1
    assert rates[505] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("warmup", "expected"), [(0.0, [1, 0.75, 0.5, 0.25, 0]), (1.0, [0, 0.25, 0.5, 0.75, 1])]
)
def test_no_warmup_and_nothing_else(warmup: float, expected: list[float]) -> None:
    assert [warmup_linear(step, 4, warmup) for step in range(5)] == pytest.approx(expected)


def test_no_steps_at_all() -> None:
    assert warmup_linear(0, 0, 0.1) == 0


def test_schedule_sets_the_rate_of_every_group() -> None:
    a, b = torch.ones(1, requires_grad=True), torch.ones(1, requires_grad=True)
    optimizer = BertAdam([{"params": [a]}, {"params": [b], "lr": 0.2}], lr=0.1)
    schedule, rates = warmup_linear_schedule(optimizer, 4, 0.5), []
    for _ in range(4):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    assert rates == [pytest.approx([f * 0.1, f * 0.2]) for f in (0, 0.5, 1, 0.5)]
