from itertools import combinations
from math import comb

import numpy as np
import pytest

from dreamprvr.baselines import chance, fit_alignment, max_over_time, mean_pooling
from dreamprvr.errors import UserError

RNG = np.random.default_rng(0)
TEXTS = RNG.standard_normal((5, 6))
VIDEOS = [RNG.standard_normal((count, 6)) for count in (3, 1, 7, 4)]


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.sqrt(a @ a) / np.sqrt(b @ b))


def test_chance_of_one_true_video() -> None:
    assert chance(1334) == pytest.approx(
        {"R@1": 0.074963, "R@5": 0.374813, "R@10": 0.749625, "R@100": 7.496252, "SumR": 8.695652},
        abs=1e-5,
    )
    assert chance(3) == {"R@1": pytest.approx(100 / 3), "R@5": 100, "R@10": 100, "R@100": 100} | {
        "SumR": pytest.approx(300 + 100 / 3)
    }


def test_chance_of_several_true_videos_counts_all_orders() -> None:
    total = comb(8, 3)
    hits = sum(min(places) < 5 for places in combinations(range(8), 3))
    assert chance(8, 3)["R@5"] == pytest.approx(100 * hits / total)
    mixed = chance(8, [3, 1])
    for name, value in mixed.items():
        assert value == pytest.approx((chance(8, 3)[name] + chance(8, 1)[name]) / 2)


@pytest.mark.parametrize(("videos", "positives"), [(0, 1), (5, 0), (5, 6), (5, [])])
def test_chance_that_is_not_defined(videos: int, positives: int | list[int]) -> None:
    with pytest.raises(UserError, match="not defined"):
        chance(videos, positives)


def test_scores_in_a_joint_space() -> None:
    mean, best = mean_pooling(TEXTS, VIDEOS), max_over_time(TEXTS, iter(VIDEOS))
    assert mean.shape == best.shape == (5, 4)
    for q, text in enumerate(TEXTS):
        for v, rows in enumerate(VIDEOS):
            assert mean[q, v] == pytest.approx(cosine(text, rows.mean(axis=0)))
            assert best[q, v] == pytest.approx(max(cosine(text, row) for row in rows))


def test_blocks_give_the_same_scores_as_the_whole() -> None:
    whole = max_over_time(TEXTS, VIDEOS)
    np.testing.assert_allclose(max_over_time(TEXTS[2:4], VIDEOS[1:3]), whole[2:4, 1:3])
    assert max_over_time(TEXTS, []).shape == (5, 0)


def test_zero_rows_score_zero_and_not_nan() -> None:
    assert max_over_time(np.zeros((1, 6)), VIDEOS).tolist() == [[0.0] * 4]
    assert mean_pooling(TEXTS, [np.zeros((2, 6))]).tolist() == [[0.0]] * 5


def test_alignment_finds_an_affine_map() -> None:
    matrix, offset = RNG.standard_normal((6, 9)), RNG.standard_normal(9)
    texts = RNG.standard_normal((50, 6)) + 3
    videos = texts @ matrix + offset
    alignment = fit_alignment(texts, videos, ridge=1e-9)
    np.testing.assert_allclose(alignment.texts(texts), alignment.rows(videos), atol=1e-5)
    scores = mean_pooling(texts, [row[None] for row in videos], alignment)
    np.testing.assert_allclose(scores.diagonal(), 1, atol=1e-6)
    assert (scores.argmax(axis=1) == np.arange(50)).all()


def test_alignment_minimises_the_penalised_error() -> None:
    texts, videos = RNG.standard_normal((30, 4)), RNG.standard_normal((30, 5))
    ridge = 0.3
    found = fit_alignment(texts, videos, ridge)
    x, y = texts - texts.mean(axis=0), found.rows(videos)
    penalty = ridge * (x**2).sum() / 4

    def loss(matrix: np.ndarray) -> float:
        return float(((x @ matrix - y) ** 2).sum() + penalty * (matrix**2).sum())

    for _ in range(20):
        assert loss(found.matrix) < loss(found.matrix + 1e-3 * RNG.standard_normal((4, 5)))


def test_whitened_videos_vary_alike_in_all_directions() -> None:
    videos = RNG.standard_normal((500, 3)) @ np.array([[9.0, 1, 0], [0, 1, 2], [0, 0, 0.2]]) + 5
    alignment = fit_alignment(RNG.standard_normal((500, 2)), videos, shrinkage=0)
    white = alignment.rows(videos)
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(white.T @ white / 500, np.eye(3), atol=1e-6)


def test_alignment_ignores_a_loud_background_that_captions_do_not_tell() -> None:
    meaning, background = RNG.standard_normal((400, 6)), 10 * RNG.standard_normal((400, 3))
    # texts and videos lie in spaces of their own
    texts, videos = meaning @ RNG.standard_normal((6, 6)), np.hstack([background, meaning])
    alignment = fit_alignment(texts[:200], videos[:200], shrinkage=0.01)
    unseen = [row[None] for row in videos[200:]]
    best = mean_pooling(texts[200:], unseen, alignment).argmax(axis=1)
    assert (best == np.arange(200)).mean() > 0.2  # chance is 0.005


def test_captions_that_are_all_alike_can_be_aligned() -> None:
    alignment = fit_alignment(np.ones((4, 3)), RNG.standard_normal((4, 5)))
    assert np.isfinite(alignment.matrix).all()


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match="texts of size 4 and videos of size 6"):
        mean_pooling(TEXTS[:, :4], VIDEOS)
    with pytest.raises(UserError, match="row by row"):
        fit_alignment(TEXTS, RNG.standard_normal((4, 6)))
