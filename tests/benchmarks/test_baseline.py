"""The baseline against the golden vectors and, in all its shapes, against the product."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import pytest
import torch
from golden import group, network_config, settings
from golden import network as golden_network
from models.tiny import CONFIG, TEXT_DIM, VIDEO_DIM, batch, condition_of, network
from shared import needs_reference
from torch import Tensor

from benchmarks import inputs
from benchmarks.baseline.network import Baseline
from benchmarks.baseline.objective import BaselineAdam, loss_terms, triplet
from benchmarks.baseline.registers import RegisterSampler
from benchmarks.inputs import Settings, train_batch
from benchmarks.training_step import Step, baseline_step, product_step
from dreamprvr.core.batch import Queries, TrainBatch, Videos
from dreamprvr.models.dreamprvr.config import DreamPRVRConfig, ObjectiveConfig
from dreamprvr.models.dreamprvr.network import DreamPRVR, Objective
from dreamprvr.models.layers import parallel as branches
from dreamprvr.models.layers.basic import parameter_groups
from dreamprvr.training import optimizer
from dreamprvr.training.optimizer import warmup_schedule

Pairs = Callable[..., tuple[DreamPRVR, Baseline]]
CURVE_STEPS = 20

ENCODED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({}, {"captions": (1,)}),
    ({}, {"captions": (1,), "frames": (1,), "words": (1,)}),
    ({}, {"frames": (8, 1, 3)}),
    ({}, {"frames": (8, 8, 8), "words": (5,) * 6}),
    ({"num_registers": 0}, {}),
    ({"num_registers": 0}, {"captions": (1,)}),
    ({"num_registers": 1}, {}),
    ({"num_registers": 5, "num_heads": 4}, {"captions": (1, 4, 2, 1)}),
    ({"diffusion_steps": 1}, {}),
    ({"diffusion_steps": 10, "denoiser_blocks": 1}, {}),
    ({"num_clips": 1, "max_frames": 1}, {"num_clips": 1, "max_frames": 1}),
    ({"max_frames": 2}, {"max_frames": 2}),
    ({"gaussian_widths": ()}, {}),
    ({"softmax_temperature": 0.09, "clip_weight": 0.5, "frame_weight": 0.5}, {}),
]
TRAINED: list[tuple[dict[str, Any], dict[str, Any]]] = [
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


# The encodings and scores


@needs_reference
def test_golden_inference() -> None:
    product = golden_network()
    inputs, golden = group("in"), group("eval")
    baseline = Baseline(24, 20, product.config).eval()
    baseline.load_state_dict(group("state"))
    every = torch.arange(6)
    with torch.no_grad():
        query = baseline.encode_queries(
            Queries(
                torch.arange(20), inputs["text"], inputs["text_mask"], inputs["labels"][:, None]
            )
        )
        encoding = baseline.encode_videos(
            Videos(every, inputs["clips"], inputs["frames"], inputs["frame_mask"])
        )
        scores = baseline.scores(query, encoding.clips, encoding.frames)
    assert encoding.registers is not None
    found = {
        "query": query,
        "condition": encoding.registers.condition,
        "mu": encoding.registers.mu,
        "logvar": encoding.registers.logvar,
        "registers": encoding.registers.registers,
        "clip_tokens": encoding.clips,
        "frame_tokens": encoding.frames,
        "scores": scores,
    }
    for name, value in found.items():
        # the chain amplifies rounding in the registers (tests/models/dreamprvr/test_registers.py)
        atol = 2e-4 if name == "registers" else 1e-5
        torch.testing.assert_close(
            value, golden[name], rtol=0, atol=atol, msg=lambda m, name=name: f"{name}: {m}"
        )


@pytest.mark.parametrize(("changes", "sizes"), ENCODED)
def test_encodings_and_scores_equal_the_products(
    pair: Pairs, changes: dict[str, Any], sizes: dict[str, Any]
) -> None:
    (product, baseline), data = pair(**changes), batch(**sizes)
    query, encoding = baseline.encode_queries(data.queries), baseline.encode_videos(data.videos)
    expected = product.encode_videos(*data.videos[1:])
    close = {"rtol": 0, "atol": 1e-6}
    torch.testing.assert_close(query, product.encode_queries(*data.queries[1:3]).embedding, **close)
    for name, tokens in (("clips", encoding.clips), ("frames", encoding.frames)):
        torch.testing.assert_close(tokens, expected.scales[name].tokens, **close)
    sampler = product.register_sampler
    assert (encoding.registers is None) == (sampler is None)
    if sampler is not None:
        clips = product.embed_clips(data.videos.clips)
        theirs = sampler(clips).context._asdict() | {"condition": condition_of(sampler, clips)}
        for name in ("registers", "initial", "condition", "mu", "logvar"):
            torch.testing.assert_close(getattr(encoding.registers, name), theirs[name], **close)
    scores = baseline.scores(query, encoding.clips, encoding.frames)
    torch.testing.assert_close(scores, product(*data.queries[1:3], *data.videos[1:]), **close)
    assert scores.numel() == 1 or scores.std() > 1e-3  # else the comparison says nothing


@pytest.mark.parametrize("registers", [0, 4])
def test_parameters_have_the_products_names_and_shapes(registers: int) -> None:
    config = DreamPRVRConfig(num_registers=registers)
    with torch.device("meta"):
        product, baseline = DreamPRVR(1024, 768, config), Baseline(1024, 768, config)
    for theirs, ours in (
        (product.state_dict(), baseline.state_dict()),
        (dict(product.named_parameters()), dict(baseline.named_parameters())),
    ):
        shapes = [
            {name: (value.shape, value.requires_grad) for name, value in found.items()}
            for found in (theirs, ours)
        ]
        assert shapes[0] == shapes[1]


@pytest.mark.parametrize(
    "choice",
    [
        {"initial_register": "sample"},
        {"reverse_noise": "gaussian"},
        {"training_noise": "gaussian"},
        {"time_table": "sinusoidal"},
        {"padded_frames": "ignore"},
    ],
)
def test_variants_of_the_paper_are_refused(choice: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(choice))} .* is not in the baseline"):
        Baseline(8, 8, DreamPRVRConfig(**choice))


def test_condition_is_embedded_at_every_step() -> None:
    sampler, calls = RegisterSampler(CONFIG), []
    embed = sampler.denoiser.condition_linear
    embed.register_forward_hook(lambda *_: calls.append(1))
    clips = torch.randn(3, CONFIG.num_clips, CONFIG.hidden_size)
    sample = sampler(clips)
    assert len(calls) == CONFIG.diffusion_steps
    sampler.predict_noise(sample, clips.mean(1))
    assert len(calls) == 2 * CONFIG.diffusion_steps


# A training step


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


@pytest.mark.parametrize(("changes", "sizes"), TRAINED)
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
    for _ in range(8 * len(allowed)):
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


def test_steps_equal_the_products() -> None:
    product = network()
    baseline = Baseline(VIDEO_DIM, TEXT_DIM, product.config).double()
    baseline.load_state_dict(product.state_dict())
    theirs = optimizer.BertAdam(parameter_groups(product), lr=0.1, weight_decay=0.3)
    schedule = warmup_schedule(theirs, 5, 0.25)
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


# Twenty steps without dropout, each on a batch of its own


def chosen() -> Settings:
    """The published optimiser and schedule; a network that is small, but has all its parts."""
    published = inputs.settings("tvr")
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
    for seed in range(CURVE_STEPS):
        batch = train_batch(chosen(), 4 + seed % 2, captions=2 + seed % 3, seed=10 * seed)
        torch.manual_seed(seed)  # of the textual perturbation
        losses.append(step(batch).item())
    return losses


@cache
def baseline_curve() -> list[float]:
    return curve(baseline_step(inputs.pair(chosen())[1], chosen(), CURVE_STEPS))


def product_curve() -> list[float]:
    return curve(product_step(inputs.pair(chosen())[0], chosen(), CURVE_STEPS))


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
    still = curve(product_step(inputs.pair(chosen())[0], chosen()._replace(lr=0.0), CURVE_STEPS))
    moved = [abs(a - b) for a, b in zip(still, baseline_curve(), strict=True)]
    assert moved[0] == pytest.approx(0, abs=1e-5)
    assert max(moved) > 0.05
