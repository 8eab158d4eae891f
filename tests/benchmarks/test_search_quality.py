import numpy as np
import pytest

from benchmarks.search_quality import exact_lists, quality, sum_recall


def test_exact_lists() -> None:
    scores = np.array([[0.1, 0.9, 0.5, 0.7], [0.4, 0.3, 0.2, 0.1]])
    assert exact_lists(scores, 3).tolist() == [[1, 3, 2], [0, 1, 2]]
    assert exact_lists(scores, 9).tolist() == [[1, 3, 2, 0], [0, 1, 2, 3]]


def test_exact_lists_with_a_filter() -> None:
    scores = np.array([[0.1, 0.9, 0.5, 0.7], [0.4, 0.3, 0.2, 0.1]])
    allowed = np.array([[True, False, True, False], [False, True, False, True]])
    assert exact_lists(scores, 3, allowed).tolist() == [[2, 0], [1, 3]]


def test_sum_recall() -> None:
    # first, third, twelfth, missing: 100/4 + 2 * 100/4 + 2 * 100/4 + 3 * 100/4
    lists = [[7], [1, 2, 7], [*range(20, 31), 7], [1, 2]]
    assert sum_recall(lists, np.full(4, 7)) == pytest.approx(25 + 50 + 50 + 75)


def test_quality_of_the_first_queries() -> None:
    exact = np.array([[1, 2], [3, 4], [5, 6]])
    found = quality([[1, 9], [4, 3]], exact, np.array([1, 3, 0]))
    assert found.recall == pytest.approx(75)
    assert found.sum_recall == pytest.approx(50 + 100 + 100 + 100)
    assert found.kept == pytest.approx(100 * 350 / 400)


def test_nothing_to_keep() -> None:
    assert quality([[1]], np.array([[1]]), np.array([5])).kept == 100
