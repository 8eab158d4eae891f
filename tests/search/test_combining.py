"""A without B, and A then B, against loops over all pairs of seconds."""

import numpy as np
import pytest

from dreamprvr.search.combining import Pair, best_pair, fused, without


@pytest.mark.parametrize("count", [2, 3, 40])
def test_the_best_pair_is_that_of_a_loop(count: int) -> None:
    random = np.random.default_rng(count)
    first, second = random.standard_normal((2, count))
    pairs = [(a, b) for b in range(count) for a in range(b)]
    a, b = max(pairs, key=lambda pair: first[pair[0]] + second[pair[1]])
    found = best_pair(first, second)
    assert found is not None
    assert (found.first, found.second) == (a, b)
    assert found.score == pytest.approx((first[a] + second[b]) / 2)


def test_the_order_counts() -> None:
    dog, cat = np.array([0.0, 0.9, 0.0, 0.1]), np.array([0.8, 0.0, 0.2, 0.0])
    assert best_pair(dog, cat) == Pair(1, 2, pytest.approx(0.55))
    assert best_pair(cat, dog) == Pair(0, 1, pytest.approx(0.85))
    assert best_pair(dog[:1], cat[:1]) is None


def test_without_takes_away_what_is_there() -> None:
    scores = without(np.array([0.5, 0.5, 0.1]), np.array([0.4, -0.4, 0.0]))
    assert scores == pytest.approx([0.1, 0.5, 0.1])


def test_two_rankings_are_joined_as_a_loop_does_it() -> None:
    random = np.random.default_rng(1)
    for _ in range(20):
        seen = [str(name) for name in random.permutation(30)[:20]]
        said = [str(name) for name in random.permutation(30)[:8]]

        def score(name: str, seen: list[str] = seen, said: list[str] = said) -> float:
            total = 1 / (61 + said.index(name)) if name in said else 0.0
            return total + (1 / (61 + seen.index(name)) if name in seen else 0.0)

        found = fused(seen, said, 20)
        assert sorted(found) == sorted({*seen, *said})
        scores = [score(name) for name in found]
        assert scores == sorted(scores, reverse=True)
        short = fused(seen[:12], said, 12)
        assert [n for n in fused(seen, said, 12) if n in short] == short
    assert fused(["a", "b"], ["c"], 9) == ["c", "a", "b"]  # equal sums: words first
    assert fused(["a", "b"], [], 9) == ["a", "b"]
