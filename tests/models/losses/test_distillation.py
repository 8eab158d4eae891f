"""Relational distillation, compared with slow references in loops over pairs and triplets."""

import math
from collections.abc import Iterator
from itertools import permutations
from typing import Any

import pytest
import torch
from models.losses.batches import encoded, padded
from torch import Tensor

from dreamprvr.core.errors import UserError
from dreamprvr.models.encoded import EncodedBatch
from dreamprvr.models.losses.distillation import (
    RelationalDistillation,
    angle_distillation,
    distance_distillation,
)

QUERIES = 7
LABELS = torch.tensor([0, 1, 1, 0, 2, 2, 1])
ALL = torch.ones(QUERIES, dtype=torch.bool)


def spaces() -> tuple[Tensor, Tensor]:
    """Embeddings of seven queries, and sentence vectors of another size."""
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(QUERIES, 4, generator=generator, dtype=torch.float64)
    return student, 3 * torch.randn(QUERIES, 6, generator=generator, dtype=torch.float64)


def batch(student: Tensor, teacher: Tensor) -> EncodedBatch:
    tokens = torch.zeros(3, 2, student.shape[1], dtype=student.dtype)
    made = encoded(student, tokens, tokens, LABELS)
    return made._replace(queries=made.queries._replace(extras={"sentences": teacher}))


def smooth(difference: float) -> float:
    size = abs(difference)
    return size**2 / 2 if size < 1 else size - 0.5


def relative_distances(vectors: list[list[float]]) -> Iterator[float]:
    found = [math.dist(a, b) for a, b in permutations(vectors, 2)]
    positive = [distance for distance in found if distance > 0]
    return (distance * len(positive) / sum(positive) for distance in found)


def cosines(vectors: list[list[float]]) -> Iterator[float]:
    for a, vertex, b in permutations(vectors, 3):
        first = [x - v for x, v in zip(a, vertex, strict=True)]
        second = [x - v for x, v in zip(b, vertex, strict=True)]
        size = math.hypot(*first) * math.hypot(*second)
        dot = sum(x * y for x, y in zip(first, second, strict=True))
        yield dot / size if size else 0.0


@pytest.mark.parametrize(
    ("function", "relations"),
    [(distance_distillation, relative_distances), (angle_distillation, cosines)],
)
@pytest.mark.parametrize("equal", [False, True])
def test_each_term_is_the_mean_over_all_pairs_or_triplets(
    function: Any, relations: Any, equal: bool
) -> None:
    student, teacher = spaces()
    if equal:  # two captions of the same words
        student[3], teacher[3] = student[1], teacher[1]
    losses = [
        smooth(ours - wanted)
        for ours, wanted in zip(
            relations(student.tolist()), relations(teacher.tolist()), strict=True
        )
    ]
    assert max(losses) > 0.1
    student.requires_grad_()
    found = function(student, teacher, ALL)
    assert found.item() == pytest.approx(sum(losses) / len(losses), rel=1e-9)
    found.backward()
    assert student.grad is not None
    assert student.grad.isfinite().all()
    assert 0 < student.grad.abs().max() < 10


@pytest.mark.parametrize("function", [distance_distillation, angle_distillation])
def test_spaces_of_the_same_shape_have_no_loss(function: Any) -> None:
    student, _ = spaces()
    turn = torch.linalg.qr(torch.arange(16.0).reshape(4, 4).sin().double()).Q
    assert function(student, 5 * student @ turn + 2, ALL).item() == pytest.approx(0, abs=1e-12)
    assert function(student, spaces()[1], torch.arange(QUERIES) < 1) == 0  # a single query


def test_the_terms_of_a_batch() -> None:
    student, teacher = spaces()
    term = RelationalDistillation(distance_weight=2.0, angle_weight=3.0)
    assert term.takes_sentences
    assert term.weight == {"distance": 2.0, "angle": 3.0}
    found = term(batch(student, teacher), epoch=0)
    torch.testing.assert_close(found["distance"], distance_distillation(student, teacher, ALL))
    torch.testing.assert_close(found["angle"], angle_distillation(student, teacher, ALL))
    more = term(padded(batch(student, teacher), 3), epoch=0)
    for name in found:
        torch.testing.assert_close(more[name], found[name])
    half = term(batch(student.bfloat16(), teacher.bfloat16()), epoch=0)
    assert all(value.dtype == torch.float32 for value in half.values())


def test_angles_of_many_queries_are_those_of_a_sample() -> None:
    """The mean over many draws of four queries is the mean over all triplets."""
    student, teacher = spaces()
    full = RelationalDistillation()(batch(student, teacher), epoch=0)
    sampled = RelationalDistillation(angle_queries=4)
    torch.manual_seed(0)
    draws = [sampled(padded(batch(student, teacher), 3), epoch=0) for _ in range(400)]
    assert all(torch.allclose(draw["distance"], full["distance"]) for draw in draws)
    angles = torch.stack([draw["angle"] for draw in draws])
    assert angles.std() > 0.01
    assert angles.mean() == pytest.approx(full["angle"].item(), rel=0.05)


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (2, "angle_queries is 2; it must be a whole number from 3"),
        (4.5, r"angle_queries is 4\.5; it must be a whole"),
    ],
)
def test_too_few_queries_for_a_triplet_are_refused(number: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        RelationalDistillation(angle_queries=number)
