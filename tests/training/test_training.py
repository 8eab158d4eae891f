from contextlib import nullcontext
from functools import cache
from typing import Any, NamedTuple

import pytest
import torch
from counted import Counted
from golden import group, settings
from golden import network as golden_network
from models.tiny import CONFIG, batch, network, single
from shared import needs_reference
from torch import Tensor
from torch.utils._pytree import tree_map

from dreamprvr.core.batch import Queries, TrainBatch, Videos
from dreamprvr.models.dreamprvr.config import ObjectiveConfig
from dreamprvr.models.dreamprvr.network import DreamPRVR, Objective, mean_per_video
from dreamprvr.models.layers.basic import parameter_groups
from dreamprvr.training.compilation import ComputeLoss, bucketed_objective, bucketed_queries
from dreamprvr.training.optimizer import BertAdam, warmup_schedule


class Run(NamedTuple):
    losses: list[dict[str, float]]
    gradients: dict[str, Tensor | None]  # of the first step
    state: dict[str, Tensor]  # after the last


@cache
def golden_run() -> Run:
    """Four steps on the golden batch, as the published implementation was run."""
    model, config, i = golden_network().train(), settings()["config"], group("in")
    data = TrainBatch(
        Videos(torch.arange(6), i["clips"], i["frames"], i["frame_mask"]),
        Queries(torch.arange(20), i["text"], i["text_mask"], i["labels"][:, None]),
        i["labels"],
    )
    objective = Objective(ObjectiveConfig(hard_pool=config["hard_pool_size"]), "zero")
    optimizer = BertAdam(parameter_groups(model), lr=config["lr"], weight_decay=config["wd"])
    schedule = warmup_schedule(optimizer, settings()["total_steps"], config["lr_warmup_proportion"])
    losses: list[dict[str, float]] = []
    gradients: dict[str, Tensor | None] = {}
    for _ in range(4):
        terms = objective(model.encode_batch(data), hard_negatives=True)
        optimizer.zero_grad()
        terms["total"].backward()
        losses.append({name: term.item() for name, term in terms.items()})
        if not gradients:
            gradients = {
                name: None if p.grad is None else p.grad.clone()
                for name, p in model.named_parameters()
            }
        optimizer.step()
        schedule.step()
    return Run(losses, gradients, model.state_dict())


@needs_reference
def test_golden_losses_of_four_steps() -> None:
    golden = settings()["losses"]
    assert len(golden) == 4
    for ours, theirs in zip(golden_run().losses, golden, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)


@needs_reference
def test_golden_gradients() -> None:
    ours, golden = golden_run().gradients, group("grad")
    assert [name for name in ours if ours[name] is None] == [
        "register_sampler.denoiser.time.table.weight"
    ]
    assert ours.keys() - golden.keys() <= {"register_sampler.denoiser.time.table.weight"}
    assert golden.keys() <= ours.keys()
    for name, gradient in ours.items():
        if gradient is not None:
            difference = (gradient - golden[name]).abs().max().item()
            assert difference < 2e-6, name


@needs_reference
def test_golden_weights_after_four_steps() -> None:
    ours, golden, start = golden_run().state, group("after"), group("state")
    assert ours.keys() == golden.keys()
    for name, value in golden.items():
        assert (ours[name] - value).abs().max().item() < 5e-5, name
    moved = max((golden[name] - start[name]).abs().max().item() for name in golden)
    assert moved > 1e-3  # else the comparison says nothing


def test_mean_per_video_equals_the_slow_reference() -> None:
    query = torch.randn(6, 4, dtype=torch.float64)
    labels = torch.tensor([1, 0, 2, 1, 1, 2])
    found = mean_per_video(query, labels, 3)
    for video in range(3):
        own = [query[q] for q in range(6) if labels[q] == video]
        torch.testing.assert_close(found[video], sum(own) / len(own))
    assert mean_per_video(query.bfloat16(), labels, 3).dtype == torch.float32


def test_encoded_batch_holds_what_the_network_gives() -> None:
    model, data = network(), batch()
    encoded = model.encode_batch(data)
    torch.testing.assert_close(encoded.queries, model.encode_queries(*data.queries[1:3]))
    videos = model.encode_videos(*data.videos[1:])
    torch.testing.assert_close(encoded.videos.scales, videos.scales)
    sampler = model.register_sampler
    assert sampler is not None
    text = mean_per_video(encoded.queries.embedding, data.labels, 3)
    own = sampler.losses(sampler(model.embed_clips(data.videos.clips)), text)
    torch.testing.assert_close(encoded.videos.extras, {f"loss/{k}": v for k, v in own.items()})
    assert encoded.labels is data.labels


def step(model: DreamPRVR, data: TrainBatch, hard: bool = True) -> dict[str, Tensor]:
    """Loss terms and, in the parameters, gradients."""
    objective = Objective(ObjectiveConfig(hard_pool=1), model.config.padded_frames)
    terms = objective(model.encode_batch(data), hard)
    terms["total"].backward()
    return terms


EDGES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"captions": (1,)}),
    ({}, {"captions": (1,), "frames": (1,), "words": (1,)}),
    ({}, {"captions": (4,)}),
    ({}, {"captions": (1, 1, 1)}),
    ({}, {"captions": (1, 5)}),
    ({}, {"frames": (1, 1, 1)}),
    ({}, {"words": (1,) * 6}),
    ({"num_registers": 1}, {}),
    ({"diffusion_steps": 1}, {}),
    ({"num_registers": 0}, {}),
    ({"num_registers": 0}, {"captions": (1,)}),
    ({"num_clips": 1, "max_frames": 1}, {"num_clips": 1, "max_frames": 1}),
    ({"initial_register": "sample"}, {}),
    ({"reverse_noise": "gaussian"}, {}),
    ({"training_noise": "gaussian"}, {}),
    ({"time_table": "sinusoidal"}, {}),
    ({"padded_frames": "ignore"}, {"frames": (8, 1, 3)}),
    ({"text_perturbation": 0.1, "dropout": 0.3, "input_dropout": 0.3}, {}),
    ({"gaussian_widths": ()}, {}),
]


@pytest.mark.parametrize("hard", [True, False])
@pytest.mark.parametrize(("changes", "sizes"), EDGES)
def test_edge_cases_train(changes: dict[str, Any], sizes: dict[str, Any], hard: bool) -> None:
    model = network(**changes).train()
    terms = step(model, batch(**sizes), hard)
    assert all(term.isfinite() for term in terms.values())
    assert ("kl" in terms) == ("diffusion" in terms) == (model.config.num_registers > 0)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


def test_single_video_has_no_triplet_loss() -> None:
    terms = step(network(), batch(captions=(3,)))
    assert terms["clip_triplet"] == terms["frame_triplet"] == 0
    assert terms["diversity"] > 0


def test_gradient_is_that_of_finite_differences() -> None:
    # without L_dre, whose gradient leaves out the perturbation's alpha and beta
    objective = Objective(ObjectiveConfig(hard_pool=1, diffusion_weight=0.0), "zero")
    model, data = network(), batch()
    objective(model.encode_batch(data), True)["total"].backward()
    generator = torch.Generator().manual_seed(0)
    slope, directions, width = 0.0, [], 1e-8  # the steep chain has kinks close by
    for parameter in model.parameters():
        if parameter.grad is not None:
            direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            slope += (parameter.grad * direction).sum().item()
            directions.append((parameter, direction))
    totals = []
    with torch.no_grad():
        for shift in (width, -2 * width):
            for parameter, direction in directions:
                parameter += shift * direction
            totals.append(objective(model.encode_batch(data), True)["total"].item())
    assert (totals[0] - totals[1]) / (2 * width) == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision_losses_are_float32_and_close(dtype: torch.dtype) -> None:
    data = single(batch())
    exact = step(single(network()), data)
    model = single(network())
    objective = Objective(ObjectiveConfig(hard_pool=1), "zero")
    with torch.autocast("cpu", dtype):
        encoded = model.encode_batch(data)
        assert {each.dtype for each in encoded.videos.extras.values()} == {torch.float32}
        terms = objective(encoded, True)
    terms["total"].backward()
    for name, term in terms.items():
        assert term.dtype == torch.float32, name
        assert term.item() == pytest.approx(exact[name].item(), rel=0.05, abs=0.02), name
    assert any(terms[name] != exact[name] for name in terms)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


# On the device `meta`, which knows shapes, types and places, but no values: whatever would make the
# host wait for a GPU (a value read back, a shape that depends on values) has no answer there and
# fails, and so does an operation that mixes tensors of the device and the host.


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
def test_a_wait_for_the_device_is_found(waits) -> None:
    with pytest.raises((RuntimeError, NotImplementedError)):
        waits(torch.ones(1, device="meta"))


ones = torch.ones(1)
