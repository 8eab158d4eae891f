"""A training step on the device `meta`, which knows shapes, types and places, but no values.

Whatever would make the host wait for a GPU (a value read back, a shape that depends on values) has
no answer there and fails, and so does an operation that mixes tensors of the device and the host.
"""

from contextlib import nullcontext

import pytest
import torch
from counted import Counted
from models.tiny import CONFIG, batch, network, single
from torch.utils._pytree import tree_map

from dreamprvr.models.dreamprvr.config import ObjectiveConfig
from dreamprvr.models.dreamprvr.objective import Objective
from dreamprvr.models.layers.basic import parameter_groups
from dreamprvr.training.compilation import ComputeLoss, bucketed_objective, bucketed_queries
from dreamprvr.training.optimizer import BertAdam


@pytest.mark.parametrize("hard_negatives", [False, True])
@pytest.mark.parametrize("bucketed", [False, True])
def test_nothing_waits_for_the_device(
    hard_negatives: bool, bucketed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # it knows no `meta`
    model = single(network()).to("meta").train()
    data = tree_map(lambda x: x.to("meta"), single(batch((4, 4, 1))))  # 9 queries, padded to 10
    optimizer = BertAdam(parameter_groups(model))
    objective: ComputeLoss = Objective(ObjectiveConfig(hard_pool=1), "zero")
    if bucketed:
        objective = bucketed_objective(objective)
        encode = bucketed_queries(model.query_encoder.forward, CONFIG.max_words)
        monkeypatch.setattr(model.query_encoder, "forward", encode)
    terms = objective(model.encode_batch(data), hard_negatives)
    terms["total"].backward()
    optimizer.step()
    assert {(term.device.type, term.dtype) for term in terms.values()} == {("meta", torch.float32)}


@pytest.mark.parametrize("hard_negatives", [False, True])
def test_operations_do_not_grow_with_the_batch(
    hard_negatives: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No loop over videos, queries or words is left in a step."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    found = []
    for captions in ((2, 1), (2, 3, 1, 4, 2)):
        model = single(network()).to("meta").train()
        data = tree_map(lambda x: x.to("meta"), single(batch(captions)))
        objective = Objective(ObjectiveConfig(), "zero")
        with Counted() as counted:
            objective(model.encode_batch(data), hard_negatives)["total"].backward()
        found.append(counted.operations)
    assert found[0].total() > 100
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "waits", [lambda x: x.item(), lambda x: bool(x > 0), lambda x: x[x > 0], lambda x: x + ones]
)
def test_what_waits_is_found(waits) -> None:
    with pytest.raises((RuntimeError, NotImplementedError)):
        waits(torch.ones(1, device="meta"))


ones = torch.ones(1)
