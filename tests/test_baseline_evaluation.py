"""Baselines on tiny benchmarks, against the same written out with loops."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from data_modules.base import FeatureSet, PRVRDataModule
from data_modules.testing import write_tiny
from dreamprvr.baseline_evaluation import evaluate_baselines
from dreamprvr.baselines import chance, fit_alignment

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
def test_against_direct_computation(tmp_path: Path, dataset: type[PRVRDataModule]) -> None:
    data = made(dataset, tmp_path)
    kinds = {"untrained": False, "aligned": True} if dataset is Joint else {"aligned": True}
    methods = {"mean pooling": True, "max over time": False}
    found = evaluate_baselines(data)
    names = {f"{method}, {kind}" for method in methods for kind in kinds}
    assert set(found) == names | {"chance"}
    for method, pooled in methods.items():
        for kind, aligned in kinds.items():
            expected = directly(data, pooled, aligned)
            assert found[f"{method}, {kind}"] == pytest.approx(expected), (method, kind)
    assert len({tuple(row.values()) for row in found.values()}) > len(kinds)  # they do differ


def test_long_videos_are_pooled_to_frames(tmp_path: Path) -> None:
    """As the network sees them: the maximum goes over means of rows, not over the rows."""
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
