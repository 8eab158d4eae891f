from itertools import combinations, pairwise
from math import comb
from pathlib import Path

import numpy as np
import pytest

from data_modules.base import FeatureSet, PRVRDataModule
from data_modules.testing import write_tiny
from dreamprvr.core.errors import UserError
from dreamprvr.evaluation.baselines import (
    chance,
    evaluate_baselines,
    fit_alignment,
    max_over_time,
    mean_pooling,
)
from dreamprvr.evaluation.moment_tokens import moment_tokens

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
def test_a_chance_that_is_not_defined_is_refused(videos: int, positives: int | list[int]) -> None:
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


def test_alignment_ignores_a_strong_background_without_captions() -> None:
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


CUTOFFS = (1, 5, 10, 100)


class Joint(PRVRDataModule):
    """Text and video features of one size."""

    collection = "joint"
    feature_sets = {"standard": FeatureSet("FeatureData/a", "TextData/a.hdf5", 8, 8)}


class Apart(PRVRDataModule):
    """Text and video features of different sizes."""

    collection = "apart"
    feature_sets = {"standard": FeatureSet("FeatureData/a", "TextData/a.hdf5", 8, 5)}


def made(dataset: type[PRVRDataModule], root: Path, **options: int) -> PRVRDataModule:
    write_tiny(dataset, root, **{"train": 12, "val": 9, **options})
    return dataset(root, num_workers=0)


def at_most_128(rows: np.ndarray) -> np.ndarray:
    """Means of consecutive rows, where a video has more than 128 of them."""
    if len(rows) <= 128:
        return rows
    bounds = [min(round(i / 128 * len(rows)), len(rows) - 1) for i in range(129)]
    ranges = pairwise(bounds)
    return np.array([rows[start : max(stop, start + 1)].mean(axis=0) for start, stop in ranges])


def directly(data: PRVRDataModule, pooled: bool, aligned: bool) -> dict[str, float]:
    videos, texts = data.stores()
    test, train = data.annotations("test"), data.annotations("train")
    alignment = fit_alignment(
        np.array([texts[q].mean(axis=0) for q in train.queries["query_id"]]),
        np.array([videos[ids[0]].mean(axis=0) for ids in train.queries["video_ids"]]),
    )
    gallery = {name: at_most_128(videos[name]) for name in test.videos["video_id"]}
    ranks = []
    for query_id, true in zip(test.queries["query_id"], test.queries["video_ids"], strict=True):
        text, score = texts[query_id].mean(axis=0), {}
        text = alignment.texts(text) if aligned else text
        for video, rows in gallery.items():
            shown = rows.mean(axis=0, keepdims=True) if pooled else rows
            shown = alignment.rows(shown) if aligned else shown
            lengths = np.linalg.norm(shown, axis=1) * np.linalg.norm(text)
            score[video] = max(shown @ text / lengths)
        ranks.append(1 + sum(s >= score[true[0]] for v, s in score.items() if v != true[0]))
    result = {f"R@{k}": 100 * float(np.mean(np.array(ranks) <= k)) for k in CUTOFFS}
    return result | {"SumR": sum(result.values())}


@pytest.mark.parametrize("dataset", [Joint, Apart])
def test_the_baselines_equal_a_direct_computation(
    tmp_path: Path, dataset: type[PRVRDataModule]
) -> None:
    data = made(dataset, tmp_path)
    kinds = {"untrained": False, "aligned": True} if dataset is Joint else {"aligned": True}
    methods = {"mean pooling": True, "max over time": False}
    found = evaluate_baselines(data)
    names = {f"{method}, {kind}" for method in [*methods, "moment tokens"] for kind in kinds}
    assert set(found) == names | {"chance"}
    for method, pooled in methods.items():
        for kind, aligned in kinds.items():
            expected = directly(data, pooled, aligned)
            assert found[f"{method}, {kind}"] == pytest.approx(expected), (method, kind)
    assert len({tuple(row.values()) for row in found.values()}) > len(kinds)  # they do differ


@pytest.mark.parametrize("kind", ["untrained", "aligned"])
def test_moment_tokens_are_pooled_after_they_are_made(tmp_path: Path, kind: str) -> None:
    data = made(Joint, tmp_path, val=40, max_rows=300)
    videos, texts = data.stores()
    table, train = data.annotations("test").evaluated(), data.annotations("train")
    queries = np.stack([texts[query].mean(axis=0) for query in table.queries["query_id"]])
    rows = [videos[name] for name in table.videos["video_id"]]
    if kind == "aligned":
        alignment = fit_alignment(
            np.array([texts[q].mean(axis=0) for q in train.queries["query_id"]]),
            np.array([videos[ids[0]].mean(axis=0) for ids in train.queries["video_ids"]]),
        )
        queries, rows = alignment.texts(queries), [alignment.rows(each) for each in rows]
    scores = max_over_time(queries, [at_most_128(moment_tokens(each)) for each in rows])
    place = {name: row for row, name in enumerate(table.videos["video_id"])}
    true = [scores[q, place[ids[0]]] for q, ids in enumerate(table.queries["video_ids"])]
    ranks = (scores >= np.array(true)[:, None]).sum(axis=1)
    found = evaluate_baselines(data)[f"moment tokens, {kind}"]
    assert found["R@5"] == pytest.approx(100 * np.mean(ranks <= 5))


def test_long_videos_are_pooled_to_frames(tmp_path: Path) -> None:
    """As in the network, the maximum is over means of rows and not over the rows."""
    data = made(Joint, tmp_path, val=40, max_rows=300)
    videos, _ = data.stores()
    assert sum(videos.rows(name) > 128 for name in data.annotations("test").videos["video_id"]) > 15
    found = evaluate_baselines(data)
    for name, aligned in (("untrained", False), ("aligned", True)):
        expected = directly(data, pooled=False, aligned=aligned)
        assert found[f"max over time, {name}"] == pytest.approx(expected), name


def test_chance_is_that_of_the_test_gallery(tmp_path: Path) -> None:
    found = evaluate_baselines(made(Apart, tmp_path))["chance"]
    assert found == pytest.approx(chance(9))
    assert found["R@1"] == pytest.approx(100 / 9)


def test_captions_with_several_true_videos(tmp_path: Path) -> None:
    """The best of them counts."""
    data = made(Joint, tmp_path)
    single = evaluate_baselines(data)
    ids = tuple(data.annotations("test").videos["video_id"])
    queries = data.annotations("test").queries
    queries["video_ids"] = [ids] + [(own[0],) for own in queries["video_ids"][1:]]
    several = evaluate_baselines(data)
    assert several["chance"]["R@1"] > single["chance"]["R@1"]
    for name in set(several) - {"chance"}:
        assert several[name]["R@1"] >= single[name]["R@1"]
    queries["video_ids"] = [ids] * len(queries)
    assert all(row["R@1"] == 100 for row in evaluate_baselines(data).values())
