"""The baseline's training step against the golden vectors and the product's."""

import itertools
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import pytest
import torch
from golden import group, network_config, settings
from models.tiny import batch
from shared import needs_reference
from torch import Tensor

from benchmarks.baseline.network import Baseline
from benchmarks.baseline.objective import loss_terms, triplet
from benchmarks.baseline.optimizer import BaselineAdam
from dreamprvr.core.batch import Queries, TrainBatch, Videos
from dreamprvr.models.dreamprvr.config import ObjectiveConfig
from dreamprvr.models.dreamprvr.network import DreamPRVR
from dreamprvr.models.dreamprvr.objective import Objective

Pairs = Callable[..., tuple[DreamPRVR, Baseline]]
SHAPES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({}, {"captions": (1,)}),
    ({}, {"captions": (1,), "frames": (1,), "words": (1,)}),
    ({}, {"captions": (4,)}),
    ({}, {"captions": (1, 1, 1)}),
    ({}, {"captions": (1, 5, 2)}),
    ({}, {"frames": (8, 1, 3)}),
    ({"num_registers": 0}, {}),
    ({"num_registers": 0}, {"captions": (1,)}),  # nothing to learn
    ({"num_registers": 0}, {"captions": (2,)}),
    ({"num_registers": 1, "diffusion_steps": 1}, {}),
    ({"num_clips": 1, "max_frames": 1}, {"num_clips": 1, "max_frames": 1}),
    ({"gaussian_widths": ()}, {}),
]


class Run(NamedTuple):
    losses: list[dict[str, float]]
    gradients: dict[str, Tensor]  # of the first step
    state: dict[str, Tensor]  # after the last


@cache
def golden_run() -> Run:
    """Four steps on the golden batch."""
    c, i = settings()["config"], group("in")
    network = Baseline(c["visual_feat_dim"], c["q_feat_size"], network_config()).train()
    network.load_state_dict(group("state"))
    data = TrainBatch(
        Videos(torch.arange(6), i["clips"], i["frames"], i["frame_mask"]),
        Queries(torch.arange(20), i["text"], i["text_mask"], i["labels"][:, None]),
        i["labels"],
    )
    total_steps, warmup = settings()["total_steps"], c["lr_warmup_proportion"]
    optimizer = BaselineAdam(network, c["lr"], total_steps, warmup, c["wd"])
    losses: list[dict[str, float]] = []
    gradients: dict[str, Tensor] = {}
    for _ in range(4):
        terms = loss_terms(network, data, ObjectiveConfig(hard_pool=c["hard_pool_size"]), True)
        optimizer.zero_grad()
        terms["total"].backward()
        losses.append({name: term.item() for name, term in terms.items()})
        gradients = gradients or {
            name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None
        }
        optimizer.step()
    return Run(losses, gradients, network.state_dict())


@needs_reference
def test_golden_losses_of_four_steps() -> None:
    for ours, theirs in zip(golden_run().losses, settings()["losses"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)


@needs_reference
def test_golden_gradients() -> None:
    ours, golden = golden_run().gradients, group("grad")
    assert golden.keys() - ours.keys() <= {"register_sampler.denoiser.time.table.weight"}
    assert ours.keys() <= golden.keys()
    for name, gradient in ours.items():
        assert (gradient - golden[name]).abs().max().item() < 2e-6, name


@needs_reference
def test_golden_weights_after_four_steps() -> None:
    ours, golden = golden_run().state, group("after")
    assert ours.keys() == golden.keys()
    for name, value in golden.items():
        assert (ours[name] - value).abs().max().item() < 5e-5, name


def assert_same_step(
    product: DreamPRVR, baseline: Baseline, data: TrainBatch, config: ObjectiveConfig, hard: bool
) -> None:
    """Loss terms and gradients are equal, with the same random numbers."""
    torch.manual_seed(5)
    encoded = product.train().encode_batch(data)
    expected = Objective(config, "zero")(encoded, hard)
    torch.manual_seed(5)
    found = loss_terms(baseline.train(), data, config, hard)
    assert found.keys() == expected.keys()
    for name, term in expected.items():
        assert found[name].item() == pytest.approx(term.item(), rel=1e-6, abs=1e-9), name
    expected["total"].backward()
    found["total"].backward()
    ours = dict(baseline.named_parameters())
    size = max(p.grad.abs().max().item() for p in product.parameters() if p.grad is not None)
    assert size > 1e-3 or expected["total"] == 0  # else the comparison says nothing
    for name, parameter in product.named_parameters():
        assert (parameter.grad is None) == (ours[name].grad is None), name
        if parameter.grad is not None:
            torch.testing.assert_close(
                ours[name].grad, parameter.grad, rtol=0, atol=1e-6 * size + 1e-12,
                msg=lambda m, name=name: f"{name}: {m}",
            )  # fmt: skip


@pytest.mark.parametrize(("changes", "sizes"), SHAPES)
def test_hard_negatives_step_equals_the_products(
    pair: Pairs, changes: dict[str, Any], sizes: dict[str, Any]
) -> None:
    config = ObjectiveConfig(hard_pool=1)  # so that no negative is drawn
    assert_same_step(*pair(**changes), batch(**sizes), config, hard=True)


@pytest.mark.parametrize("registers", [0, 2])
def test_random_negatives_step_equals_the_products(pair: Pairs, registers: int) -> None:
    # two videos with one caption each: there is one negative to draw
    data = batch(captions=(1, 1))
    assert_same_step(*pair(num_registers=registers), data, ObjectiveConfig(), hard=False)


def test_step_with_perturbed_text_equals_the_products(pair: Pairs) -> None:
    config = ObjectiveConfig(hard_pool=1)
    assert_same_step(*pair(text_perturbation=0.3), batch(), config, hard=True)


def test_constants_reach_their_terms(pair: Pairs) -> None:
    config = ObjectiveConfig(
        clip_nce_weight=2.0, frame_nce_weight=3.0, diversity_weight=5.0, similarity_weight=7.0,
        kl_weight=0.11, diffusion_weight=13.0, margin=0.7, hard_pool=1, diversity_delta=0.1,
        diversity_alpha=3.0, diversity_gamma=2.0, similarity_temperature=0.3,
    )  # fmt: skip
    assert_same_step(*pair(), batch(), config, hard=True)


@pytest.mark.parametrize(("hard", "pool"), [(True, 2), (True, 20), (False, 20)])
def test_triplet_draws_all_allowed_negatives_and_no_others(hard: bool, pool: int) -> None:
    torch.manual_seed(0)
    labels, videos = torch.tensor([0, 0, 1, 2]), 3
    scores = torch.rand(4, videos, dtype=torch.float64)
    config = ObjectiveConfig(margin=1.0, hard_pool=pool)  # no hinge is at 0
    of_video, positive = [], []
    for v in range(videos):
        values = sorted(scores[labels != v, v].tolist(), reverse=True)
        of_video.append(values[:1] if hard else values)
        positive.append(scores[labels == v, v].mean().item())
    of_query = [
        sorted((scores[q, v].item() for v in range(videos) if v != labels[q]), reverse=True)
        for q in range(4)
    ]
    if hard:
        of_query = [values[:pool] for values in of_query]
    own = scores.gather(1, labels[:, None])[:, 0].tolist()
    allowed = [
        sum(1 + n - p for n, p in zip(queries, positive, strict=True)) / videos
        + sum(1 + n - p for n, p in zip(negatives, own, strict=True)) / 4
        for queries in itertools.product(*of_video)
        for negatives in itertools.product(*of_query)
    ]
    found = set()
    for _ in range(20 * len(allowed)):
        loss = triplet(scores, labels, config, hard).item()
        distances = [abs(loss - value) for value in allowed]
        assert min(distances) < 1e-12
        found.add(distances.index(min(distances)))
    assert len(found) == len(allowed)


def test_queries_are_encoded_twice_with_dropout_of_their_own(
    pair: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, baseline = pair(dropout=0.3, input_dropout=0.3, text_perturbation=0.1)
    encode, seen = baseline.encode_queries, []

    def watched(queries: Queries) -> Tensor:
        seen.append(encode(queries))
        return seen[-1]

    monkeypatch.setattr(baseline, "encode_queries", watched)
    terms = loss_terms(baseline.train(), batch(), ObjectiveConfig(), False)
    assert len(seen) == 2
    assert not torch.allclose(*seen)
    terms["total"].backward()
    assert all(p.grad.isfinite().all() for p in baseline.parameters() if p.requires_grad)
