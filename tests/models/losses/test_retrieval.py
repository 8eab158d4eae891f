import itertools
import math

import pytest
import torch
from torch import Tensor

from dreamprvr.models.encoded import PADDED
from dreamprvr.models.losses.retrieval import is_query, mean_over_queries, nce, triplet

LABELS = torch.tensor([0, 0, 1, 2, 2, 2])
SCORES = 4 * torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def slow_nce(scores: Tensor, labels: Tensor) -> float:
    s, label = scores.tolist(), labels.tolist()
    queries, videos = range(scores.shape[0]), range(scores.shape[1])
    per_query = [
        -math.log(math.exp(s[q][label[q]]) / sum(math.exp(s[q][v]) for v in videos))
        for q in queries
    ]
    per_video = []
    for v in videos:
        own = sum(math.exp(s[q][v]) for q in queries if label[q] == v)
        per_video.append(-math.log(own / sum(math.exp(s[q][v]) for q in queries)) if own else 0.0)
    return sum(per_query) / len(per_query) + sum(per_video) / len(per_video)


@pytest.mark.parametrize("labels", [LABELS, torch.zeros(6, dtype=torch.int64), LABELS.flip(0)])
def test_equals_the_slow_reference(labels: Tensor) -> None:
    assert nce(SCORES, labels).item() == pytest.approx(slow_nce(SCORES, labels), rel=1e-12)


def test_video_without_a_query_counts_as_zero_and_its_gradient_is_finite() -> None:
    scores, labels = SCORES.clone().requires_grad_(), torch.tensor([0, 0, 0, 2, 2, 2])
    loss = nce(scores, labels)
    assert loss.item() == pytest.approx(slow_nce(SCORES, labels), rel=1e-12)
    loss.backward()
    assert scores.grad is not None
    assert scores.grad.isfinite().all()


def test_one_query_of_one_video_has_nothing_to_learn() -> None:
    assert nce(torch.tensor([[3.0]]), torch.tensor([0])).item() == 0


def test_large_scores_do_not_overflow() -> None:
    scores = torch.tensor([[1000.0, -1000.0], [-1000.0, 1000.0]])
    assert nce(scores, torch.tensor([0, 1])).item() == 0
    assert nce(scores, torch.tensor([1, 0])).item() == 4000


def test_adding_a_constant_changes_nothing() -> None:
    torch.testing.assert_close(nce(SCORES + 7, LABELS), nce(SCORES, LABELS))


def test_padding_changes_nothing() -> None:
    scores = torch.cat([SCORES, 9 * torch.ones(2, 3)]).requires_grad_()
    labels = torch.cat([LABELS, torch.tensor([PADDED, PADDED])])
    loss = nce(scores, labels)
    assert loss.item() == pytest.approx(slow_nce(SCORES, LABELS), rel=1e-12)
    loss.backward()
    assert scores.grad is not None
    assert scores.grad[:6].all()
    assert not scores.grad[6:].any()


OWNERS = torch.tensor([0, 0, 1, 2, 2, 2, 3])
COSINES = torch.rand(7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
MARGIN = 1.0  # no hinge is at 0, so that different negatives give different losses


def hinge(negative: float, positive: float) -> float:
    return max(MARGIN + negative - positive, 0.0)


def negatives(scores: Tensor, labels: Tensor) -> tuple[list[list[float]], list[list[float]]]:
    """Scores of the queries not of each video, and of the videos not of each query."""
    s, label = scores.tolist(), labels.tolist()
    queries, videos = range(len(s)), range(len(s[0]))
    of_video = [[s[q][v] for q in queries if label[q] != v] for v in videos]
    of_query = [[s[q][v] for v in videos if v != label[q]] for q in queries]
    return of_video, of_query


def slow_triplet(
    scores: Tensor, labels: Tensor, of_video: list[float], of_query: list[float]
) -> float:
    """With the given negative scores."""
    label, per_video, per_query = labels.tolist(), [], []
    for v, negative in enumerate(of_video):
        own = [scores[q, v].item() for q in range(len(label)) if label[q] == v]
        per_video.append(hinge(negative, sum(own) / len(own)))
    for q, negative in enumerate(of_query):
        per_query.append(hinge(negative, scores[q, label[q]].item()))
    return sum(per_video) / len(per_video) + sum(per_query) / len(per_query)


@pytest.mark.parametrize("scale", [1, 10])  # with 10, some hinges are at 0
def test_hardest_negatives_equal_the_slow_reference(scale: int) -> None:
    scores = COSINES * scale
    of_video, of_query = ([max(row) for row in rows] for rows in negatives(scores, OWNERS))
    ours = triplet(scores, OWNERS, MARGIN, hard_negatives=True, hard_pool=1).item()
    assert ours == pytest.approx(slow_triplet(scores, OWNERS, of_video, of_query), rel=1e-12)


@pytest.mark.parametrize("pool", [2, 20])
def test_hard_query_negatives_are_any_of_the_pool(pool: int) -> None:
    labels, scores = torch.tensor([0, 1, 2, 3]), COSINES[:4]
    of_video, of_query = negatives(scores, labels)
    hardest = [max(row) for row in of_video]
    pools = [sorted(row, reverse=True)[:pool] for row in of_query]
    allowed = [
        slow_triplet(scores, labels, hardest, list(chosen)) for chosen in itertools.product(*pools)
    ]
    assert reached(scores, labels, True, pool, allowed) == set(range(len(allowed)))


def test_random_negatives_are_true_negatives_and_all_are_reached() -> None:
    labels, scores = torch.tensor([0, 0, 1]), COSINES[:3, :2]
    of_video, of_query = negatives(scores, labels)
    allowed = [
        slow_triplet(scores, labels, list(video), list(query))
        for video in itertools.product(*of_video)
        for query in itertools.product(*of_query)
    ]
    assert reached(scores, labels, False, 20, allowed) == set(range(len(allowed)))


def reached(
    scores: Tensor, labels: Tensor, hard: bool, pool: int, allowed: list[float]
) -> set[int]:
    """Return the indices of the allowed losses that occur in many draws; others must not occur."""
    torch.manual_seed(0)
    assert len(set(allowed)) == len(allowed)
    found = set()
    for _ in range(20 * len(allowed)):
        loss = triplet(scores, labels, MARGIN, hard, pool).item()
        distances = [abs(loss - value) for value in allowed]
        assert min(distances) < 1e-12
        found.add(distances.index(min(distances)))
    return found


@pytest.mark.parametrize("hard", [True, False])
def test_own_scores_are_never_negatives(hard: bool) -> None:
    own = OWNERS[:, None] == torch.arange(4)
    for _ in range(50):
        assert triplet(own.double(), OWNERS, 0.5, hard).item() == 0
        assert triplet((~own).double(), OWNERS, 0.5, hard).item() == 3.0


@pytest.mark.parametrize("hard", [True, False])
def test_single_video_has_no_negative(hard: bool) -> None:
    scores = torch.rand(3, 1, requires_grad=True)
    loss = triplet(scores, torch.zeros(3, dtype=torch.int64), MARGIN, hard)
    loss.backward()
    assert loss.item() == 0
    assert scores.grad is not None
    assert not scores.grad.any()


def padded(scores: Tensor, labels: Tensor, value: float) -> tuple[Tensor, Tensor]:
    """Two more rows, harder or easier than any query."""
    more = torch.full((2, scores.shape[1]), value, dtype=scores.dtype)
    return torch.cat([scores, more]), torch.cat([labels, torch.tensor([PADDED, PADDED])])


@pytest.mark.parametrize("value", [9.0, -9.0])
def test_padding_does_not_count(value: float) -> None:
    scores, labels = padded(COSINES, OWNERS, value)
    scores.requires_grad_()
    loss = triplet(scores, labels, MARGIN, hard_negatives=True, hard_pool=1)
    loss.backward()
    expected = triplet(COSINES, OWNERS, MARGIN, hard_negatives=True, hard_pool=1)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    assert scores.grad is not None
    assert not scores.grad[7:].any()


def test_padding_is_never_a_random_negative() -> None:
    scores, labels = padded(COSINES[:3, :2], torch.tensor([0, 0, 1]), 9.0)
    of_video, of_query = negatives(scores[:3], labels[:3])
    allowed = [
        slow_triplet(scores[:3], labels[:3], list(video), list(query))
        for video in itertools.product(*of_video)
        for query in itertools.product(*of_query)
    ]
    assert reached(scores, labels, False, 20, allowed) == set(range(len(allowed)))


def test_padding_is_no_query() -> None:
    assert is_query(torch.tensor([0, 3, PADDED])).tolist() == [True, True, False]


def test_mean_leaves_padding_out() -> None:
    values = torch.tensor([1.0, 3.0, 100.0], requires_grad=True)
    mean = mean_over_queries(values, torch.tensor([0, 1, PADDED]))
    mean.backward()
    assert mean.item() == 2
    assert values.grad is not None
    assert values.grad.tolist() == [0.5, 0.5, 0]
