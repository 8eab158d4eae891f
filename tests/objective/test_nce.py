import math

import pytest
import torch
from torch import Tensor

from dreamprvr.objective.nce import nce
from dreamprvr.objective.padding import PADDING

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
    labels = torch.cat([LABELS, torch.tensor([PADDING, PADDING])])
    loss = nce(scores, labels)
    assert loss.item() == pytest.approx(slow_nce(SCORES, LABELS), rel=1e-12)
    loss.backward()
    assert scores.grad is not None
    assert scores.grad[:6].all()
    assert not scores.grad[6:].any()
