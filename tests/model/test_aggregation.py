import math

import pytest
import torch
from model.tiny import CONFIG, frozen

from dreamprvr.model.aggregation import AdaptiveAggregation

LENGTH = 4
MASK = torch.tensor([[1.0, 1, 1, 1], [1, 1, 0, 0]], dtype=torch.float64)


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
