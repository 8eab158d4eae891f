"""Baselines on tiny benchmarks, against the same written out with loops."""

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


def made(dataset: type[PRVRDataModule], root: Path) -> PRVRDataModule:
    write_tiny(dataset, root, train=12, val=9)
    return dataset(root, num_workers=0)


def directly(data: PRVRDataModule, pooled: bool, aligned: bool) -> dict[str, float]:
    videos, texts = data.stores()
    test, train = data.annotations("test"), data.annotations("train")
    alignment = fit_alignment(
        np.array([texts[q].mean(axis=0) for q in train.queries["query_id"]]),
        np.array([videos[ids[0]].mean(axis=0) for ids in train.queries["video_ids"]]),
    )
    ranks = []
    for query_id, true in zip(test.queries["query_id"], test.queries["video_ids"], strict=True):
        score = {}
        for video in test.videos["video_id"]:
            text, rows = texts[query_id].mean(axis=0), videos[video]
            rows = rows.mean(axis=0, keepdims=True) if pooled else rows
            if aligned:
                text, rows = alignment.texts(text), alignment.rows(rows)
            cosines = [text @ r / np.linalg.norm(text) / np.linalg.norm(r) for r in rows]
            score[video] = max(cosines)
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
