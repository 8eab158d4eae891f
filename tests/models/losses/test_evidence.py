"""Evidential losses, compared with slow references that follow the equations with loops."""

import math
from typing import Any

import pytest
import torch
from einops import rearrange
from models.losses.batches import encoded, padded
from safetensors.torch import load_file
from shared import REFERENCE, needs_reference
from torch import Tensor

from dreamprvr.core.errors import UserError
from dreamprvr.models.encoded import PADDED
from dreamprvr.models.layers.basic import unit
from dreamprvr.models.losses.evidence import (
    CONFLICTING,
    CONSISTENT,
    UNCERTAIN,
    InterVideoEvidence,
    IntraVideoEvidence,
    combined_evidence,
    evidence,
    evidential_loss,
    lower_median,
    normalised_similarity,
    one_hot,
    owners,
    query_kinds,
    soft_labels,
    transport_plan,
)

LABELS = torch.tensor([2, 0, 1, 0, 0, 3, 1, 2, 0])  # captions of a video need not be adjacent
QUERIES, VIDEOS, CLIPS, SIZE = 9, 4, 6, 8
TAU = 0.2


def scores(seed: int = 0) -> Tensor:
    """Cosines of nine queries and four videos; most queries are right."""
    generator = torch.Generator().manual_seed(seed)
    noise = 0.5 * torch.randn(QUERIES, VIDEOS, generator=generator, dtype=torch.float64)
    return torch.tanh(noise + 0.6 * one_hot(LABELS, noise))


def vectors() -> tuple[Tensor, Tensor]:
    """Queries and clips of unit length; in most videos all cosines have the same sign."""
    generator = torch.Generator().manual_seed(3)
    query = torch.randn(QUERIES, SIZE, generator=generator, dtype=torch.float64)
    clips = torch.randn(VIDEOS, CLIPS, SIZE, generator=generator, dtype=torch.float64)
    offset = torch.tensor([1.5, 1.5, -1.5, 0.0])[:, None, None]
    return unit(query + 1.5), unit(clips + offset)


# Between videos


def test_the_evidential_loss_is_that_of_the_expected_square_of_a_dirichlet_draw() -> None:
    found = evidence(scores(), TAU)
    target = torch.softmax(scores(1), dim=1)
    for row, (e, y) in enumerate(zip(found.tolist(), target.tolist(), strict=True)):
        alpha = [value + 1 for value in e]
        total = sum(alpha)
        expected = sum((y[k] - alpha[k] / total) ** 2 for k in range(VIDEOS))
        expected += sum(a * (total - a) / (total**2 * (total + 1)) for a in alpha)
        assert evidential_loss(found, target)[row].item() == pytest.approx(expected, rel=1e-12)
        draws = torch.distributions.Dirichlet(torch.tensor(alpha)).sample((20_000,))
        square = (draws - torch.tensor(y)).square().sum(dim=1)
        assert square.mean() == pytest.approx(expected, rel=0.05)


def full_combination(first: Tensor, second: Tensor) -> Tensor:
    """The rule of Dempster and Shafer through the (Q, K, K) products of all beliefs."""
    count = first.shape[1]
    totals = [(each + 1).sum(dim=1, keepdim=True) for each in (first, second)]
    beliefs = [each / total for each, total in zip((first, second), totals, strict=True)]
    unsure = [count / total for total in totals]
    products = torch.einsum("qi,qj->qij", *beliefs)
    conflict = products.sum(dim=(1, 2)) - products.diagonal(dim1=1, dim2=2).sum(dim=1)
    left = (1 - conflict)[:, None]
    belief = (beliefs[0] * beliefs[1] + beliefs[0] * unsure[1] + beliefs[1] * unsure[0]) / left
    uncertainty = unsure[0] * unsure[1] / left
    torch.testing.assert_close(belief.sum(dim=1, keepdim=True) + uncertainty, torch.ones_like(left))
    return belief * count / uncertainty


def test_combined_evidence_is_that_of_the_full_rule() -> None:
    first, second = evidence(scores(), TAU), evidence(scores(1), TAU)
    torch.testing.assert_close(combined_evidence(first, second), full_combination(first, second))


def slow_kinds(cosines: Tensor, alpha: Tensor, beta: float) -> list[int]:
    """The kinds of queries, one query after the other."""
    s, a = cosines.tolist(), alpha.tolist()
    labels = LABELS.tolist()
    totals = [sum(row) for row in a]
    unsure = [VIDEOS / total for total in totals]
    right = [q for q in range(QUERIES) if s[q].index(max(s[q])) == labels[q]]
    u_max = min([max(unsure[q] for q in right), 1 - beta]) if right else 1 - beta
    g_min = max([min(s[q][labels[q]] for q in right), beta]) if right else beta

    def digamma(value: float) -> float:
        return torch.digamma(torch.tensor(value, dtype=torch.float64)).item()

    entropy = [
        sum(x / totals[q] * (digamma(totals[q] + 1) - digamma(x + 1)) for x in a[q])
        for q in range(QUERIES)
    ]
    median = sorted(entropy)[(QUERIES - 1) // 2]
    kinds = []
    for q in range(QUERIES):
        if unsure[q] > u_max:
            kinds.append(UNCERTAIN)
        elif s[q][labels[q]] < g_min or entropy[q] > median:
            kinds.append(CONFLICTING)
        else:
            kinds.append(CONSISTENT)
    return kinds


def none_right(cosines: Tensor) -> Tensor:
    """Give another video a little more than the own one."""
    other = (LABELS + 1)[:, None] % VIDEOS
    return cosines.scatter(1, other, cosines.gather(1, LABELS[:, None]).clamp(min=0.2) + 0.05)


CASES = {
    "most are right": lambda cosines: cosines,
    "none is right": none_right,
    "little evidence, also of right ones": lambda cosines: cosines - 0.9,
    "right with a low score": lambda cosines: 0.3 * cosines,
}


@pytest.mark.parametrize("case", CASES)
def test_kinds_of_queries(case: str) -> None:
    seen = set()
    for seed in range(20):
        cosines = CASES[case](scores(seed))
        found = evidence(cosines, TAU)
        kinds = query_kinds(cosines, found, LABELS, beta=0.3).tolist()
        assert kinds == slow_kinds(cosines, found + 1, beta=0.3)
        seen |= set(kinds)
    assert len(seen) >= 2


def test_the_lower_of_two_medians() -> None:
    counted = torch.tensor([True, True, False, True, True])
    assert lower_median(torch.tensor([4.0, 1.0, 0.0, 2.0, 3.0]), counted) == 2


def test_labels_of_ambiguous_queries_are_softened() -> None:
    clips, frames = scores(), scores(1)
    kinds = [CONSISTENT, CONFLICTING, UNCERTAIN]
    clip = torch.tensor([kinds[i // 3] for i in range(9)])  # all nine pairs
    frame = torch.tensor([kinds[i % 3] for i in range(9)])
    found = soft_labels(clips, frames, (clip, frame), LABELS, smoothing=0.2)
    for q in range(QUERIES):
        pair = {clip[q].item(), frame[q].item()}
        expected = [float(k == LABELS[q]) for k in range(VIDEOS)]
        if UNCERTAIN not in pair and CONFLICTING in pair:
            mean = (clips[q].softmax(0) + frames[q].softmax(0)) / 2
            expected = [0.8 * y + 0.2 * m for y, m in zip(expected, mean.tolist(), strict=True)]
        assert found[q].tolist() == pytest.approx(expected)


# Inside a video


def slow_similarity(query: Tensor, clips: Tensor, padded_queries: str) -> list[Tensor]:
    """r of each video, in a block that is padded to the largest number of queries."""
    most = int(LABELS.bincount().max())
    blocks = []
    for video in range(VIDEOS):
        rows = query[video == LABELS]
        cosines = rows @ clips[video].T
        block = torch.zeros(most if padded_queries == "zero" else len(rows), CLIPS).double()
        block[: len(rows)] = cosines
        low, high = block.min(), block.max()
        blocks.append((cosines - low) / (high - low + 1e-8))
    return blocks


def slow_plan(block: Tensor, share: float = 0.3) -> Tensor:
    """The plan of a video, by Sinkhorn's algorithm on logarithms with the dustbin's similarity."""
    m, n = block.shape
    bin_value = block.flatten().sort().values[max(int(share * n * m), 1) - 1]
    padding = torch.zeros(2, n, dtype=torch.float64)
    costs = torch.cat([block, padding, bin_value.expand(1, n)]) / 0.1
    rows = torch.tensor([*m * [-math.log(n + m)], -1e9, -1e9, math.log(n / (n + m))]).double()
    columns = torch.full((n,), -math.log(n), dtype=torch.float64)
    u, v = torch.zeros_like(rows), torch.zeros_like(columns)
    for _ in range(50):
        u = rows - torch.logsumexp(costs + v[None], dim=1)
        v = columns - torch.logsumexp(costs + u[:, None], dim=0)
    plan = n * torch.exp(costs + u[:, None] + v[None])[:m]
    return plan / (plan.sum(dim=1, keepdim=True) + 1e-8)


@pytest.mark.parametrize("padded_queries", ["zero", "ignore"])
def test_similarity_and_plan_of_each_video(padded_queries: Any) -> None:
    query, clips = vectors()
    by = owners(LABELS, VIDEOS)
    similarity = normalised_similarity(query, clips, by, padded_queries)
    plan = transport_plan(similarity, by)
    for video, block in enumerate(slow_similarity(query, clips, padded_queries)):
        torch.testing.assert_close(similarity[video == LABELS], block)
        for share in (0.0, 0.3, 1.0):  # the similarity of the dustbin has no effect
            torch.testing.assert_close(plan[video == LABELS], slow_plan(block, share))
    assert (similarity.min(), similarity.max() > 0.99) == (0, True)


def test_the_published_fault_of_padding_can_be_switched_off() -> None:
    """By default a video's similarities depend on the queries of other videos."""
    query, clips = vectors()
    few, kept = LABELS != 0, torch.tensor([1, 2, 3])  # without the video of four queries

    def same(padded_queries: Any) -> bool:
        whole = normalised_similarity(query, clips, owners(LABELS, 4), padded_queries)
        by = owners(LABELS[few] - 1, 3)
        part = normalised_similarity(query[few], clips[kept], by, padded_queries)
        return torch.equal(whole[few], part)

    assert same("ignore")
    assert not same("zero")


def test_the_term_inside_videos_is_the_mean_over_videos_of_the_means_over_their_queries() -> None:
    query, clips = vectors()
    query.requires_grad_()
    batch = encoded(query, clips, clips, LABELS)
    term = IntraVideoEvidence(temperature=0.1)
    means = []
    for block in slow_similarity(unit(query), clips, "zero"):
        values = evidential_loss(evidence(block, 0.1), slow_plan(block.detach()))
        means.append(values.mean())
    found, expected = term(batch, 20), torch.stack(means).mean()
    torch.testing.assert_close(found, expected)
    (gradient,), (wanted,) = (torch.autograd.grad(loss, query) for loss in (found, expected))
    torch.testing.assert_close(gradient, wanted)
    assert term(batch, 19) == 0


# The terms


def test_the_terms_between_videos_soften_labels_from_their_epoch_on() -> None:
    query, clips = vectors()
    query.requires_grad_()
    frames = unit(clips + 0.3 * clips.roll(1, 2))
    batch = encoded(query, clips, frames, LABELS)
    term = InterVideoEvidence(weight=0.5, temperature=TAU)
    assert term.weight == {"clip": 0.5, "frame": 0.5, "combined": 0.5}
    by_scale = [
        rearrange(unit(query) @ rearrange(tokens, "b m d -> d (b m)"), "q (b m) -> q b m", b=VIDEOS)
        .max(dim=2).values
        for tokens in (clips, frames)
    ]  # fmt: skip
    clip, frame = (evidence(each, TAU) for each in by_scale)
    kinds = [torch.tensor(slow_kinds(each, evidence(each, TAU) + 1, 0.3)) for each in by_scale]
    fixed = [each.detach() for each in by_scale]
    soft = soft_labels(fixed[0], fixed[1], (kinds[0], kinds[1]), LABELS, 0.2)
    hard = one_hot(LABELS, soft)
    assert not torch.equal(hard, soft)
    for epoch, target in ((19, hard), (20, soft)):
        found = term(batch, epoch)
        for name, each in (
            ("clip", clip), ("frame", frame), ("combined", full_combination(frame, clip)),
        ):  # fmt: skip
            expected = evidential_loss(each, target).mean()
            torch.testing.assert_close(found[name], expected)
            gradients = [
                torch.autograd.grad(loss, query, retain_graph=True)[0]
                for loss in (found[name], expected)
            ]
            torch.testing.assert_close(*gradients)


TERMS = [InterVideoEvidence(), IntraVideoEvidence(), IntraVideoEvidence(padded_queries="ignore")]


def values(term: Any, batch: Any, epoch: int = 1000) -> Tensor:
    found = term(batch, epoch)
    return torch.stack([*found.values()]) if isinstance(found, dict) else found[None]


@pytest.mark.parametrize("term", TERMS)
def test_padded_queries_and_the_order_of_queries_change_nothing(term: Any) -> None:
    query, clips = vectors()
    expected = values(term, encoded(query, clips, clips, LABELS))
    found = values(term, padded(encoded(query, clips, clips, LABELS), 4))
    torch.testing.assert_close(found, expected)
    order = torch.randperm(QUERIES, generator=torch.Generator().manual_seed(1))
    shuffled = encoded(query[order], clips, clips, LABELS[order])
    torch.testing.assert_close(values(term, shuffled), expected)
    # in front, as in the batch of a first process
    front = torch.cat([torch.full((3,), PADDED), LABELS])
    batch = encoded(torch.cat([query[:3], query]), clips, clips, front)
    torch.testing.assert_close(values(term, batch), expected)


@pytest.mark.parametrize("term", TERMS)
def test_half_precision_is_computed_in_float32(term: Any) -> None:
    query, clips = (each.bfloat16() for each in vectors())
    query.requires_grad_()
    found = values(term, encoded(query, clips, clips, LABELS))
    assert found.dtype == torch.float32
    exact = encoded(query.detach().float(), clips.float(), clips.float(), LABELS)
    torch.testing.assert_close(found, values(term, exact))
    found.sum().backward()
    assert query.grad is not None
    assert query.grad.isfinite().all()
    assert query.grad.abs().sum() > 0


def test_a_video_of_equal_cosines_beside_padding_stays_finite() -> None:
    query = torch.eye(3).requires_grad_()
    clips = torch.eye(3)[:2, None]  # a single clip each
    batch = encoded(query, clips, clips, torch.tensor([0, 1, PADDED]))
    for padded_queries in ("zero", "ignore"):
        loss = IntraVideoEvidence(padded_queries=padded_queries)(batch, 20)  # type: ignore[arg-type]
        (gradient,) = torch.autograd.grad(loss, query)
        assert loss.isfinite()
        assert gradient.isfinite().all()


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("kind", [InterVideoEvidence, IntraVideoEvidence])
def test_the_least_temperature_and_extreme_cosines_stay_finite(kind: Any, sign: float) -> None:
    query = torch.eye(4)[[0, 1]].requires_grad_()
    clips = sign * torch.eye(4)[None, :2].repeat(2, 1, 1)  # cosines of exactly 0 and 1
    found = values(kind(temperature=0.02), encoded(query, clips, clips, torch.tensor([0, 1])))
    found.sum().backward()
    assert found.isfinite().all()
    assert query.grad is not None
    assert query.grad.isfinite().all()


def test_the_gradient_between_videos_is_that_of_finite_differences() -> None:
    query, clips = vectors()

    def total(query: Tensor, clips: Tensor) -> Tensor:
        return values(InterVideoEvidence(), encoded(query, clips, clips, LABELS), epoch=0).sum()

    inputs = (query.requires_grad_(), clips.requires_grad_())
    assert torch.autograd.gradcheck(total, inputs, eps=1e-7, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (
            InterVideoEvidence,
            {"temperature": 0.01},
            r"temperature is 0\.01; it must be a number from 0\.02 to 1,000,000",
        ),
        (InterVideoEvidence, {"beta": 2}, "beta is 2; it must be a number from 0 to 1"),
        (InterVideoEvidence, {"smoothing": "much"}, "smoothing is 'much'; it must be a number"),
        (IntraVideoEvidence, {"temperature": True}, "temperature is True; it must be a number"),
        (
            InterVideoEvidence,
            {"smoothing": -0.1},
            r"smoothing is -0\.1; it must be a number from 0 to 1",
        ),
        (IntraVideoEvidence, {"padded_queries": "x"}, "padded_queries is 'x'; one of zero, ignore"),
    ],
)
def test_settings_outside_their_ranges_are_refused(kind: Any, settings: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        kind(**settings)


# The published implementation


@needs_reference
def test_golden_kinds_labels_similarities_and_plans() -> None:
    """Tensors of the published run; its combined evidence is within 1e-4 of its float64 run."""
    golden = load_file(REFERENCE / "holmes" / "tiny.safetensors")
    clips, frames = golden["train/clip_scores"], golden["train/frame_scores"]
    labels = golden["in/labels"]
    tau, beta = 0.15, 0.3
    by_scale = [query_kinds(each, evidence(each, tau), labels, beta) for each in (clips, frames)]
    assert torch.equal(by_scale[0], golden["train/clip_kind"])
    assert torch.equal(by_scale[1], golden["train/frame_kind"])
    soft = soft_labels(clips, frames, (by_scale[0], by_scale[1]), labels, 0.2)
    assert (soft - golden["train/soft_labels"]).abs().max() < 1e-6
    both = combined_evidence(evidence(frames, tau), evidence(clips, tau))
    assert (both - golden["train/combined_evidence"]).abs().max() < 1e-4

    by, valid = owners(labels, len(golden["in/clips"])), golden["train/intra_query_mask"] == 1
    query, tokens = unit(golden["train/query"]), unit(golden["eval/clip_tokens"])
    similarity = normalised_similarity(query, tokens, by, "zero")
    assert (similarity - golden["train/intra_similarity"][valid]).abs().max() < 1e-6
    plan = transport_plan(similarity, by)
    assert (plan - golden["train/intra_plan"][valid]).abs().max() < 1e-6
