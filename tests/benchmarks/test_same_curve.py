"""Without dropout, the product learns as the baseline does, step by step."""

from dataclasses import replace
from functools import cache

import pytest
import torch

from benchmarks.inputs import Settings, pair, settings, train_batch
from benchmarks.steps import Step, baseline_step, product_step
from dreamprvr.models.layers import parallel as branches

STEPS = 20


def chosen() -> Settings:
    """The published optimiser and schedule; a network that is small, but has all its parts."""
    published = settings("tvr")
    network = replace(
        published.network, hidden_size=48, num_clips=12, max_frames=24, num_registers=4,
        dropout=0.0, input_dropout=0.0,
    )  # fmt: skip
    # a pool of one: no negative is drawn at random
    objective = replace(published.objective, hard_pool=1)
    return published._replace(video_dim=64, text_dim=40, network=network, objective=objective,
                              warmup=0.1)  # fmt: skip


def curve(step: Step) -> list[float]:
    """Losses of the steps, each on a batch of its own."""
    losses = []
    for seed in range(STEPS):
        batch = train_batch(chosen(), 4 + seed % 2, captions=2 + seed % 3, seed=10 * seed)
        torch.manual_seed(seed)  # of the textual perturbation
        losses.append(step(batch).item())
    return losses


@cache
def baseline_curve() -> list[float]:
    return curve(baseline_step(pair(chosen())[1], chosen(), STEPS))


def product_curve() -> list[float]:
    return curve(product_step(pair(chosen())[0], chosen(), STEPS))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["one branch at a time", "all branches at once"])
def test_twenty_steps_give_the_baselines_losses(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if mode == "all branches at once":  # as on an accelerator
        monkeypatch.setattr(branches, "blocks_at_once", lambda device, number: number)
    expected = baseline_curve()
    assert product_curve() == pytest.approx(expected, rel=0, abs=1e-4)


@pytest.mark.slow
def test_the_curve_moves() -> None:
    """Otherwise equal losses would say nothing: the same batches without training give others."""
    still = curve(product_step(pair(chosen())[0], chosen()._replace(lr=0.0), STEPS))
    moved = [abs(a - b) for a, b in zip(still, baseline_curve(), strict=True)]
    assert moved[0] == pytest.approx(0, abs=1e-5)
    assert max(moved) > 0.05
