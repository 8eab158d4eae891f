"""The baseline's optimiser against the product's."""

import pytest
import torch
from models.tiny import CONFIG, TEXT_DIM, VIDEO_DIM, network

from benchmarks.baseline.network import Baseline
from benchmarks.baseline.optimizer import BaselineAdam
from dreamprvr.models.layers.basic import parameter_groups
from dreamprvr.training import optimizer
from dreamprvr.training.optimizer import warmup_linear, warmup_linear_schedule


def test_steps_equal_the_products() -> None:
    product = network()
    baseline = Baseline(VIDEO_DIM, TEXT_DIM, product.config).double()
    baseline.load_state_dict(product.state_dict())
    theirs = optimizer.BertAdam(parameter_groups(product), lr=0.1, weight_decay=0.3)
    schedule = warmup_linear_schedule(theirs, 5, 0.25)
    ours = BaselineAdam(baseline, lr=0.1, total_steps=5, warmup=0.25, weight_decay=0.3)
    parameters = dict(baseline.named_parameters())
    for step in range(6):
        torch.manual_seed(step)
        for name, parameter in product.named_parameters():
            if parameter.requires_grad and not (step == 2 and "clip" in name):
                # from far below to far above the clipping norm
                parameter.grad = 0.01 * 4**step * torch.randn_like(parameter)
                parameters[name].grad = parameter.grad.clone()
            else:
                parameter.grad = parameters[name].grad = None
        theirs.step()
        schedule.step()
        ours.step()
        for name, parameter in product.named_parameters():
            torch.testing.assert_close(
                parameters[name], parameter, rtol=0, atol=1e-12,
                msg=lambda m, name=name: f"{name}: {m}",
            )  # fmt: skip


def test_groups_are_the_products() -> None:
    product, baseline = network(), Baseline(VIDEO_DIM, TEXT_DIM, CONFIG)
    names = [
        {parameter: name for name, parameter in model.named_parameters()}
        for model in (product, baseline)
    ]
    groups = parameter_groups(product), BaselineAdam(baseline, 1.0, 1).param_groups
    for theirs, ours in zip(*groups, strict=True):
        expected = {names[0][parameter] for parameter in theirs["params"]}
        assert {names[1][parameter] for parameter in ours["params"]} == expected


@pytest.mark.parametrize(("total", "warmup"), [(8, 0.25), (100, 0.01), (3, 0.9)])
def test_schedule_is_the_products(total: int, warmup: float) -> None:
    optimizer = BaselineAdam(Baseline(VIDEO_DIM, TEXT_DIM, CONFIG), 1.0, total, warmup)
    factors = []
    for _ in range(total + 2):
        factors.append(optimizer.factor())
        optimizer.step()
    expected = [warmup_linear(step, total, warmup) for step in range(total + 2)]
    assert factors == pytest.approx(expected, abs=1e-12)
