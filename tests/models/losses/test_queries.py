import math
from itertools import permutations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from dreamprvr.models.encoded import PADDED
from dreamprvr.models.losses.queries import (
    diversity,
    joint_diversity,
    optimal_matching,
    query_similarity,
)

LABELS = torch.tensor([0, 0, 1, 2, 2, 2])
QUERY = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def cosine(a: Tensor, b: Tensor) -> float:
    return (a @ b / a.norm() / b.norm()).item()


def slow_diversity(
    query: Tensor, labels: Tensor, delta: float, alpha: float, gamma: float
) -> float:
    total = 0.0
    for i in range(len(query)):
        for j in range(len(query)):
            if i != j and labels[i] == labels[j]:
                c = cosine(query[i], query[j])
                total += (1 + c) ** gamma * math.log(1 + math.exp(alpha * (c + delta)))
    return total / len(query)


def slow_similarity(query: Tensor, labels: Tensor, temperature: float) -> float:
    per_query = []
    for i in range(len(query)):
        others = [j for j in range(len(query)) if j != i]
        power = {j: math.exp(cosine(query[i], query[j]) / temperature) for j in others}
        positives = [j for j in others if labels[j] == labels[i]]
        terms = [-math.log(power[j] / sum(power.values())) for j in positives]
        if terms:
            per_query.append(sum(terms) / len(terms))
    return sum(per_query) / len(per_query) if per_query else 0.0


@pytest.mark.parametrize(("delta", "alpha", "gamma"), [(0.2, 32, 1), (0.15, 32, 1), (0, 4, 2.5)])
def test_diversity_equals_the_slow_reference(delta: float, alpha: float, gamma: float) -> None:
    ours = diversity(QUERY, LABELS, delta, alpha, gamma).item()
    assert ours == pytest.approx(slow_diversity(QUERY, LABELS, delta, alpha, gamma), rel=1e-10)


@pytest.mark.parametrize(("delta", "alpha"), [(0.2, 32), (0, 4)])
def test_joint_diversity_equals_the_slow_reference(delta: float, alpha: float) -> None:
    logarithms = []
    for i in range(6):
        own = [j for j in range(6) if j != i and LABELS[j] == LABELS[i]]
        powers = [math.exp(alpha * (cosine(QUERY[i], QUERY[j]) + delta)) for j in own]
        logarithms.append(math.log(1 + sum(powers)))
    ours = joint_diversity(QUERY, LABELS, delta, alpha).item()
    assert ours == pytest.approx(sum(logarithms) / 6, rel=1e-10)


@pytest.mark.parametrize("temperature", [0.01, 0.08, 0.09, 1.0])
@pytest.mark.parametrize("labels", [LABELS, torch.zeros(6, dtype=torch.int64)])
def test_similarity_equals_the_slow_reference(temperature: float, labels: Tensor) -> None:
    ours = query_similarity(QUERY, labels, temperature).item()
    assert ours == pytest.approx(slow_similarity(QUERY, labels, temperature), rel=1e-10)


@pytest.mark.parametrize("count", [1, 4])
def test_one_caption_a_video_gives_zero_and_finite_gradients(count: int) -> None:
    query, labels = QUERY[:count].clone().requires_grad_(), torch.arange(count)
    loss = diversity(query, labels, 0.2, 32, 1) + query_similarity(query, labels, 0.08)
    loss = loss + joint_diversity(query, labels, 0.2, 32)
    assert loss.item() == 0
    loss.backward()
    assert query.grad is not None
    assert not query.grad.any()


def test_two_captions_of_one_video_alone() -> None:
    query, labels = QUERY[:2].clone().requires_grad_(), torch.zeros(2, dtype=torch.int64)
    # each has one other, which is its positive
    assert query_similarity(query, labels, 0.08).item() == pytest.approx(0, abs=1e-12)
    opposite = torch.stack([QUERY[0], -QUERY[0]])
    assert query_similarity(opposite, labels, 0.01).item() == pytest.approx(0, abs=1e-12)
    diversity(query, labels, 0.2, 32, 1).backward()
    assert query.grad is not None
    assert query.grad.isfinite().all()
    assert query.grad.any()


def test_opposite_and_equal_captions_stay_finite() -> None:
    row = torch.randn(8, generator=torch.Generator().manual_seed(1))
    for other in (-row, row):
        query = torch.stack([row, other]).requires_grad_()
        loss = diversity(query, torch.zeros(2, dtype=torch.int64), 0.2, 32, 1.0)
        loss.backward()
        assert loss.isfinite()
        assert query.grad is not None
        assert query.grad.isfinite().all()


def test_cosine_that_rounding_leaves_below_minus_one() -> None:
    row = torch.randn(50, 8, generator=torch.Generator().manual_seed(1))
    unit = F.normalize(row, dim=-1)
    below = row[(unit * unit).sum(-1) > 1]
    assert len(below) > 5
    for r in below:
        query, labels = torch.stack([r, -r]), torch.zeros(2, dtype=torch.int64)
        assert diversity(query, labels, 0.2, 32, 1.5).isfinite()


def test_length_of_an_embedding_does_not_matter() -> None:
    longer = QUERY * torch.tensor([1, 2, 3, 4, 5, 6])[:, None]
    for loss in (
        lambda q: diversity(q, LABELS, 0.2, 32, 1),
        lambda q: joint_diversity(q, LABELS, 0.2, 32),
        lambda q: query_similarity(q, LABELS, 0.08),
    ):
        torch.testing.assert_close(loss(longer), loss(QUERY))


@pytest.mark.parametrize("row", [torch.zeros(4), QUERY[0]])
@pytest.mark.parametrize("count", [1, 6])
def test_padding_changes_nothing(row: Tensor, count: int) -> None:
    query = torch.cat([QUERY[:count], torch.stack([row.double()] * 2)]).requires_grad_()
    labels = torch.cat([LABELS[:count], torch.tensor([PADDED, PADDED])])
    pushed, kept = diversity(query, labels, 0.2, 32, 1), query_similarity(query, labels, 0.08)
    expected = slow_diversity(QUERY[:count], labels, 0.2, 32, 1)
    assert pushed.item() == pytest.approx(expected, rel=1e-10)
    expected = slow_similarity(QUERY[:count], labels, 0.08)
    assert kept.item() == pytest.approx(expected, rel=1e-10)
    jointly = joint_diversity(query, labels, 0.2, 32)
    assert jointly.item() == pytest.approx(
        joint_diversity(QUERY[:count], LABELS[:count], 0.2, 32).item(), rel=1e-10
    )
    (pushed + kept + jointly).backward()
    assert query.grad is not None
    assert query.grad[:count].isfinite().all()
    assert not query.grad[count:].any()


# Optimal matching

UNIT = F.normalize(
    torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), dim=-1
)
CLIPS = F.normalize(
    torch.randn(3, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)), dim=-1
)
MATCHED = torch.tensor([0, 0, 0, 1, 2, 2])


def test_matching_equals_the_best_of_all_assignments() -> None:
    pairs = []
    for video, own in ((0, [0, 1, 2]), (2, [4, 5])):
        best = max(
            ([float(UNIT[q] @ CLIPS[video, c]) for q, c in zip(own, clips, strict=True)]
             for clips in permutations(range(5), len(own))),
            key=sum,
        )  # fmt: skip
        pairs += best
    expected = 1 - sum(pairs) / 5
    assert optimal_matching(UNIT, CLIPS, MATCHED).item() == pytest.approx(expected, rel=1e-12)


def test_matching_without_pairs_is_zero_and_padding_takes_no_part() -> None:
    assert optimal_matching(UNIT[:3], CLIPS, torch.tensor([0, 1, 2])).item() == 0
    padded = torch.cat([UNIT, UNIT[:1]])
    labels = torch.cat([MATCHED, torch.tensor([PADDED])])
    found = optimal_matching(padded, CLIPS, labels)
    assert found.item() == optimal_matching(UNIT, CLIPS, MATCHED).item()
