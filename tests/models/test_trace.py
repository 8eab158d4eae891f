"""The evidence score of TRACE: the worked example, a slow reference, its loss terms and stages."""

import math
from typing import Any

import pytest
import torch
from models.tiny import CONFIG, batch, network, stir
from torch import Tensor

from dreamprvr.core.errors import UserError
from dreamprvr.models import trace
from dreamprvr.models.dreamprvr import DreamPRVR, ObjectiveConfig
from dreamprvr.models.encoded import EncodedQueries, EncodedVideos, Scale
from dreamprvr.models.gmmformer_v2 import GMMFormerV2
from dreamprvr.models.scoring import unit_tokens
from dreamprvr.models.testing import ModelContract
from dreamprvr.models.trace import TraceScorer, part_means

PART = "dreamprvr.models.trace.TraceScorer"
AT_ONCE = {"class_path": PART, "init_args": {"alone_until": 0}}


class TestContractWithRegisters(ModelContract):
    model = DreamPRVR
    small = {
        "hidden_size": 16, "num_heads": 2, "num_registers": 2, "diffusion_steps": 2,
        "gaussian_widths": (0.5, 5.0), "rescorer": AT_ONCE,
    }  # fmt: skip
    objective = {"hard_pool": 1}


class TestContractWithoutRegisters(ModelContract):
    model = GMMFormerV2
    small = {
        "hidden_size": 16, "num_heads": 2, "gaussian_widths": (0.5, 5.0),
        "rescorer": {"class_path": PART, "init_args": {"alone_until": 0, "anchors": 3}},
    }  # fmt: skip


def directions(*degrees: float) -> Tensor:
    """Unit vectors of the plane, given by their angles."""
    angles = torch.tensor(degrees, dtype=torch.float64) * math.pi / 180
    return torch.stack([angles.cos(), angles.sin()], dim=-1)


@pytest.mark.parametrize(
    ("mask", "expected"), [([1, 1, 1], 1.749838), ([1, 1, 0], 1.749856)], ids=["whole", "padded"]
)
def test_the_worked_example(
    mask: list[int], expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The figures of the example of section 2 in docs/models/trace.md."""
    scorer = TraceScorer(type("Config", (), {"hidden_size": 2})).double()
    outputs = {
        scorer.query: directions(10)[0][None],
        scorer.anchor: directions(0, 60)[None],
        scorer.key: directions(20, 50, 100)[None],
        scorer.value: directions(30, 40, 120)[None],
    }
    monkeypatch.setattr(trace, "_project", lambda x, layer: outputs[layer])
    score = scorer(
        EncodedQueries(torch.zeros(1, 2, dtype=torch.float64), {}, {}),
        EncodedVideos(
            {"frames": Scale(torch.ones(1, 3, 2).double(), torch.tensor([mask]).double())},
            {"registers": torch.ones(1, 2, 2).double()},
        ),
    )
    assert score.item() == pytest.approx(expected, abs=2e-6)
    assert 0.4 + scorer.weight * score.item() == pytest.approx(
        {1.749838: 0.452495}.get(expected, 0.4 + 0.03 * expected), abs=1e-6
    )


def slow_score(scorer: TraceScorer, query: Tensor, anchors: Tensor, frames: Tensor) -> Tensor:
    """Score one query and one video of valid frames, straight from the equations."""

    def project(layer: Any, x: Tensor) -> Tensor:
        y = layer.weight @ x
        return y / y.norm()

    t = scorer.temperature
    q = project(scorer.query, query)
    r = [project(scorer.anchor, x) for x in anchors]
    f = [project(scorer.key, x) for x in frames]
    x = [project(scorer.value, y) for y in frames]
    a = torch.stack([q @ each for each in r])
    routed, mixture = [], torch.zeros_like(q)
    for i in range(len(f)):
        terms = torch.stack([(a[k] + r[k] @ f[i]) / t for k in range(len(r))])
        routed.append(q @ f[i] + scorer.route_weight * t * terms.exp().sum().log())
        share = sum(
            (a / t).softmax(0)[k] * (torch.stack([r[k] @ y for y in f]) / t).softmax(0)[i]
            for k in range(len(r))
        )
        mixture = mixture + share * x[i]
    soft = q @ mixture / mixture.norm()
    return torch.stack(routed).max() + scorer.soft_weight * soft


def test_scores_equal_the_equations_for_every_query_and_video(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, data = network(rescorer=PART), batch()
    queries = model.encode_queries(*data.queries[1:3])
    videos = model.encode_videos(*data.videos[1:])
    assert model.rescorer is not None
    scores = model.rescorer(queries, videos)
    for q, query in enumerate(queries.embedding):
        for v, count in enumerate(data.videos.frame_mask.sum(dim=1).int().tolist()):
            frames = videos.scales["frames"].tokens[v, :count]
            anchors = videos.extras["registers"][v]
            expected = slow_score(model.rescorer, query, anchors, frames)
            torch.testing.assert_close(scores[q, v], expected, rtol=0, atol=1e-10)
    monkeypatch.setattr(trace, "NUMBERS", 1.0)  # one video at a time
    torch.testing.assert_close(model.rescorer(queries, videos), scores, rtol=0, atol=1e-12)
    torch.testing.assert_close(
        model.rescorer(queries, unit_tokens(videos)), scores, rtol=0, atol=1e-10
    )


def test_anchors_without_registers_are_the_means_of_equal_parts() -> None:
    frames = torch.arange(1.0, 9.0)[None, :, None].repeat(2, 1, 1)
    mask = torch.tensor([[1.0] * 8, [1.0] * 2 + [0.0] * 6])
    means, has_frames = part_means(frames, mask, 4)
    assert means[0, :, 0].tolist() == [1.5, 3.5, 5.5, 7.5]
    assert means[1, :, 0].tolist() == [1.0, 0.0, 2.0, 0.0]
    assert has_frames.tolist() == [[1, 1, 1, 1], [1, 0, 1, 0]]


def test_only_the_scorer_is_trained_in_the_first_epochs() -> None:
    model, data = network(ObjectiveConfig(hard_pool=1), rescorer=PART), batch()
    terms = model.losses(model.encode_batch(data), epoch=4)
    assert terms.keys() == {"trace_nce", "trace_triplet", "total"}
    expected = 0.02 * terms["trace_nce"] + 0.05 * terms["trace_triplet"]
    torch.testing.assert_close(terms["total"], expected)
    terms["total"].backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == name.startswith("rescorer."), name


def test_later_epochs_add_its_terms_and_then_its_score() -> None:
    model, data = network(ObjectiveConfig(hard_pool=1), rescorer=PART), batch()
    without = network(ObjectiveConfig(hard_pool=1))
    without.load_state_dict(model.state_dict(), strict=False)
    encoded = model.encode_batch(data)

    def terms(of: DreamPRVR, epoch: int) -> dict[str, Tensor]:
        torch.manual_seed(0)
        return of.losses(encoded, epoch)

    for epoch in (25, 30):  # the weight of the score grows from 0 at epoch 30
        with_it, plain = terms(model, epoch), terms(without, epoch)
        own = 0.02 * with_it["trace_nce"] + 0.05 * with_it["trace_triplet"]
        torch.testing.assert_close(with_it["total"], plain["total"] + own)
        assert all(torch.equal(with_it[name], plain[name]) for name in plain if name != "total")
    fused, plain = terms(model, 40), terms(without, 40)
    changed = {name for name in plain if not torch.equal(fused[name], plain[name])}
    assert changed == {"clip_nce", "frame_nce", "clip_triplet", "frame_triplet", "total"}
    assert [model.rescorer.fused_weight(epoch) for epoch in (0, 30, 40, 50, 90)] == pytest.approx(
        [0, 0, 0.015, 0.03, 0.03]
    )


def test_the_nce_is_that_of_each_query_among_the_videos() -> None:
    model, data = network(rescorer=PART), batch()
    encoded = model.encode_batch(data)
    assert model.rescorer is not None
    scores = model.rescorer(encoded.queries, encoded.videos)
    terms = model.losses(encoded, epoch=0)
    expected = torch.nn.functional.cross_entropy(scores / 0.07, encoded.labels)
    torch.testing.assert_close(terms["trace_nce"], expected)


@pytest.mark.parametrize("name", ["temperature", "nce_temperature", "anchors", "fused_over"])
def test_settings_that_cannot_be_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"network\.rescorer"):
        TraceScorer(CONFIG, **{name: 0})


def test_stirred_scores_differ_between_pairs() -> None:
    """A test of this file that compares scores compares different numbers."""
    scorer = TraceScorer(CONFIG)
    stir(scorer)
    model, data = network(), batch()
    scores = scorer.double()(
        model.encode_queries(*data.queries[1:3]), model.encode_videos(*data.videos[1:])
    )
    assert scores.std() > 1e-3
