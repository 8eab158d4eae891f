"""The worked example of docs/models/tf_prvr.md, and the properties of any video."""

import numpy as np
import pytest

from dreamprvr.core.vectors import unit
from dreamprvr.evaluation import moment_tokens as module
from dreamprvr.evaluation.moment_tokens import find_cuts, moment_tokens, propagate, segments

ANGLES = np.deg2rad([0, 10, 80, 95, 100, 20])
ROWS = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)
QUERY = np.array([0.0, 1.0])
CUTS = [np.array([2, 5]), np.array([2])]


def random_rows(count: int, size: int = 6) -> np.ndarray:
    return np.random.default_rng(count).standard_normal((count, size)).astype(np.float32)


def test_moments_of_the_worked_example() -> None:
    moments = propagate(ROWS, [segments(cuts, 6) for cuts in CUTS])
    expected = [[0.8606, 0.3201], [0.3588, 0.7080], [0.7435, 0.4270], [0.7805, 0.3073],
                [0.4342, 0.6850]]  # fmt: skip
    np.testing.assert_allclose(moments, expected, atol=5e-5)


def test_tokens_of_the_worked_example(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_cuts", lambda rows: CUTS)
    cosines = moment_tokens(ROWS) @ QUERY
    np.testing.assert_allclose(cosines, [0.3571, 0.3571, 0.8690, 0.8690, 0.8690, 0.6865], atol=5e-5)


def test_a_cut_is_found_where_smooth_motion_breaks() -> None:
    angles = 0.01 * np.arange(80)
    angles[50:] += 1.0
    finest = find_cuts(np.stack([np.cos(angles), np.sin(angles), np.ones(80)], axis=1))[-1]
    assert min(abs(finest - 50)) <= 2
    assert all(abs(finest - 50) <= 8)


def test_cuts_ascend_and_lie_inside() -> None:
    for count in (9, 10, 64, 200):
        levels = find_cuts(unit(random_rows(count)))
        assert 1 <= len(levels) <= 3
        for cuts in levels:
            assert (np.diff(cuts) > 0).all()
            assert ((cuts > 0) & (cuts < count)).all()


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_a_short_video_is_one_moment(count: int) -> None:
    rows = random_rows(count)
    mean = unit(unit(rows).mean(axis=0))
    np.testing.assert_allclose(moment_tokens(rows), np.tile(mean, (count, 1)), atol=1e-6)


def test_a_still_video_keeps_its_rows() -> None:
    rows = np.tile(random_rows(1), (50, 1))
    np.testing.assert_allclose(moment_tokens(rows), unit(rows), atol=1e-6)


def test_rows_of_zeros_give_finite_tokens() -> None:
    rows = random_rows(30)
    rows[10:20] = 0
    assert np.isfinite(moment_tokens(rows)).all()
    assert not moment_tokens(np.zeros((20, 4), np.float32)).any()


def test_tokens_have_the_shape_of_the_rows_and_unit_length() -> None:
    for count in (1, 7, 100):
        tokens = moment_tokens(random_rows(count))
        assert tokens.shape == (count, 6)
        assert tokens.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(tokens, axis=1), 1, atol=1e-6)


def test_a_long_video_is_done_in_equal_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = random_rows(45)
    monkeypatch.setattr(module, "LONGEST", 20)
    expected = np.concatenate([moment_tokens(rows[start : start + 15]) for start in (0, 15, 30)])
    np.testing.assert_array_equal(moment_tokens(rows), expected)


def test_moments_are_the_mean_of_a_random_walk() -> None:
    """P = (1 - b) (R + b W R + b^2 W^2 R + ...), summed term by term."""
    rows = unit(random_rows(12).astype(float))
    levels = [segments([3, 7], 12), segments([5], 12)]
    bounds = [(level, a, b) for level, part in enumerate(levels) for a, b in part.tolist()]
    means = np.stack([unit(rows[a:b].mean(axis=0)) for _, a, b in bounds])
    weights = np.eye(len(bounds))
    for i, (level, a, b) in enumerate(bounds):
        for j, (other, c, d) in enumerate(bounds):
            alike = max(float(means[i] @ means[j]), 0)
            if i != j and level == other:
                typical = 12 / len(levels[level])
                weights[i, j] = alike + np.exp(-abs((a + b) / 2 - (c + d) / 2) / typical)
            elif abs(level - other) == 1:
                shared = max(0, min(b, d) - max(a, c))
                weights[i, j] = shared / (b - a + d - c - shared) * alike
    sums = weights.sum(axis=1)
    weights /= np.sqrt(np.outer(sums, sums))
    expected, term = np.zeros_like(means), 0.3 * means
    for _ in range(200):
        expected += term
        term = 0.7 * weights @ term
    np.testing.assert_allclose(propagate(rows, levels), expected, atol=1e-12)
