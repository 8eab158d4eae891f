import json
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from dreamprvr.core.errors import UserError
from dreamprvr.evaluation import comparison
from dreamprvr.evaluation.comparison import (
    Cost,
    Difference,
    Run,
    bootstrap,
    csv_text,
    json_text,
    markdown,
    paired_differences,
    paired_metrics,
    query_values,
    read_ranks,
    summary,
)
from dreamprvr.evaluation.metrics import recalls

METRICS = ["R@1", "R@10", "SumR"]


def table(ranks: Sequence[int], captions: int = 3) -> pd.DataFrame:
    """Ranks of queries, of which each video has some."""
    numbers = range(len(ranks))
    return pd.DataFrame(
        {
            "query_id": [f"v{i // captions}#enc#{i % captions}" for i in numbers],
            "video_id": [f"v{i // captions}" for i in numbers],
            "rank": ranks,
        }
    )


def run(ranks: Sequence[int], seed: int = 0, **more: float) -> Run:
    found = table(ranks)
    return Run(seed, recalls(torch.tensor(found["rank"].to_numpy())) | more, found)


def random_ranks(seed: int, count: int = 90) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 200, size=count)


def slow_bootstrap(values: np.ndarray, videos: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Draw one video after the other, and average all queries of those drawn."""
    generator = np.random.default_rng(seed)
    count = len(set(videos))
    means = []
    for _ in range(draws):
        drawn = [values[videos == video] for video in generator.integers(count, size=count)]
        means.append(np.concatenate(drawn).mean(axis=0))
    return np.array(means)


def test_the_mean_over_queries_is_the_metric() -> None:
    rank = random_ranks(0)
    expected = recalls(torch.from_numpy(rank))
    values = query_values(table(rank), METRICS)
    assert values.shape == (90, 3)
    assert values.mean(axis=0) == pytest.approx([expected[name] for name in METRICS])


@pytest.mark.parametrize("block", [1, 50, 1 << 20])
def test_the_bootstrap_equals_a_slow_one(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "BLOCK", block)
    random = np.random.default_rng(3)
    values, videos = random.standard_normal((40, 2)), random.permutation(np.arange(40) % 7)
    videos[:5] = 2  # some videos have more queries
    expected = slow_bootstrap(values, videos, 30, seed=5)
    np.testing.assert_allclose(bootstrap(values, videos, 30, seed=5), expected, atol=1e-12)


def test_the_error_is_that_of_videos_and_not_of_queries() -> None:
    """Queries of one video that all agree are worth one: the interval is that of the videos."""
    random = np.random.default_rng(1)
    of_videos = random.standard_normal(200)
    values, videos = np.repeat(of_videos, 10)[:, None], np.repeat(np.arange(200), 10)
    drawn = bootstrap(values, videos)
    assert drawn.std() == pytest.approx(of_videos.std() / np.sqrt(200), rel=0.03)
    single = bootstrap(values, np.arange(2000), draws=2000)
    assert single.std() == pytest.approx(of_videos.std() / np.sqrt(2000), rel=0.06)


def test_the_same_ranks_differ_by_nothing() -> None:
    ranks = random_ranks(0)
    found = paired_differences({"a": [run(ranks)], "b": [run(ranks)]}, METRICS)
    assert found == {"b": dict.fromkeys(METRICS, Difference(0, 0, 0))}
    assert not found["b"]["SumR"].significant


def test_a_model_that_is_better_everywhere_is_better() -> None:
    worse = np.full(90, 7)
    better = np.where(np.arange(90) % 2, 1, 5)
    found = paired_differences({"a": [run(worse)], "b": [run(better)], "c": [run(worse)]}, METRICS)
    assert found["b"]["R@1"].difference == 50
    assert found["b"]["SumR"].difference == 150
    assert 0 < found["b"]["R@1"].low < 50 < found["b"]["R@1"].high < 100
    assert found["b"]["R@10"] == found["c"]["SumR"] == (0, 0, 0)
    assert found["b"]["SumR"].significant
    back = paired_differences({"b": [run(better)], "a": [run(worse)]}, METRICS)
    low, high = found["b"]["SumR"][1:]
    assert back["a"]["SumR"] == pytest.approx((-150, -high, -low))


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """In 200 pairs of equally good models, about nineteen in twenty intervals hold 0."""
    random = np.random.default_rng(0)
    videos, held = np.repeat(np.arange(50), 3), 0
    for _ in range(200):
        skill = np.repeat(random.uniform(0.1, 0.9, size=(2, 50)), 3, axis=1)
        first, second = random.uniform(size=(2, 150)) < skill
        drawn = bootstrap((first * 1.0 - second)[:, None], videos, draws=400)
        low, high = np.percentile(drawn, [2.5, 97.5])
        held += low <= 0 <= high
    assert 180 <= held <= 197


def test_seeds_are_averaged_and_the_order_of_rows_does_not_matter() -> None:
    first, second, other = (random_ranks(seed) for seed in range(3))
    shuffled = run(second, 1)._replace(ranks=table(second).sample(frac=1, random_state=0))
    found = paired_differences({"a": [run(other)], "b": [run(first), shuffled]}, METRICS)
    values = [query_values(table(ranks), METRICS).mean(axis=0) for ranks in (first, second, other)]
    expected = (values[0] + values[1]) / 2 - values[2]
    assert [found["b"][name].difference for name in METRICS] == pytest.approx(list(expected))


def test_other_queries_are_refused() -> None:
    shorter = run(random_ranks(0)[:-3])
    with pytest.raises(UserError, match="b, seed 0: it was tested on other queries"):
        paired_differences({"a": [run(random_ranks(0))], "b": [shorter]}, METRICS)


def test_nothing_is_compared_without_the_reference_or_a_second_model() -> None:
    one = [run(random_ranks(0))]
    assert paired_differences({"a": one}, METRICS) == {}
    assert paired_differences({"a": [], "b": one, "c": one}, METRICS) == {}
    assert paired_differences({"a": one, "b": []}, METRICS) == {}


def test_a_measure_that_each_query_has_is_compared_too() -> None:
    found = [run(random_ranks(seed), mAP=1.0, moments=3.0) for seed in (0, 1)]
    values = np.linspace(0, 100, 90)
    runs = [one._replace(ranks=one.ranks.assign(mAP=values + at)) for at, one in enumerate(found)]
    models = {"a": runs[:1], "b": runs[1:]}
    assert paired_metrics(models) == ["R@1", "R@5", "R@10", "R@100", "SumR", "mAP"]
    assert paired_metrics({"a": runs, "b": found})[-1] == "SumR"
    assert paired_differences(models, ["mAP"])["b"]["mAP"] == pytest.approx((1, 1, 1))


def rows() -> list[dict[str, object]]:
    a = [run([1] * 30, 0, mAP=40.0), run([2] * 30, 1, mAP=44.0)]
    b = [run([200] * 30, 0, mAP=1.0)]
    costs = {"a": Cost(5_210_000, 1.5, 0.0123, 98_304.0, 0.00021)}
    return summary({"a": a, "b": b, "c": []}, costs)


def test_the_summary() -> None:
    first, second, third = rows()
    assert (first["model"], first["runs"], first["R@1"], first["mAP"]) == ("a", 2, 50.0, 42.0)
    assert first["R@1 deviation"] == pytest.approx(50 * np.sqrt(2))
    assert first["mAP deviation"] == pytest.approx(np.sqrt(8))
    assert first["SumR difference"] is None
    assert "mAP difference" not in first
    assert [second[f"SumR {k}"] for k in ("difference", "low", "high")] == [-350.0] * 3
    assert second["SumR deviation"] is None
    assert (third["runs"], third["SumR"], third["SumR low"], third["query"]) == (
        0,
        None,
        None,
        None,
    )
    assert first["stored"] == 98_304


def test_csv_and_json_hold_the_summary() -> None:
    read = pd.read_csv(StringIO(csv_text(rows())))
    assert list(read) == list(rows()[0])
    assert read["model"].tolist() == ["a", "b", "c"]
    assert read["SumR"].tolist()[:2] == [350.0, 0.0]
    content = json.loads(json_text(rows(), failed=[]))
    assert content["models"] == rows()
    assert content["bootstrap"] == {"draws": 10_000, "seed": 0, "level": 95, "drawn": "videos"}
    assert content["failed"] == []


def test_the_table() -> None:
    lines = markdown(rows(), ["Three models.", "One failed."]).splitlines()
    head = ["model", "runs", "R@1", "R@5", "R@10", "R@100", "SumR", "mAP", "SumR - a (95 %)"]
    costs = ["parameters", "training step", "encoding, a video", "storage, a video", "query"]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[:5]]
    assert cells[0] == head + costs
    assert cells[2][:3] == ["a", "2", "50.0 ± 70.7"]
    assert cells[2][-6:] == ["-", "5.21 M", "1,500 ms", "12.3 ms", "98.3 kB", "0.21 ms"]
    assert cells[3][-6:] == ["-350.0 [-350.0, -350.0]*", *"-----"]
    assert cells[4] == ["c", "0", *"-" * 12]
    assert len({len(line) for line in lines[:5]}) == 1  # it reads as text too
    assert lines[5:] == ["", "Three models.", "One failed."]


def test_a_table_before_the_first_result() -> None:
    text = markdown(summary({"a": [], "b": []}))
    assert text.splitlines()[0] == "| model | runs |"


def test_ranks_are_read(tmp_path: Path) -> None:
    path = tmp_path / "ranks.csv"
    table([3, 1, 200]).to_csv(path, index=False)
    pd.testing.assert_frame_equal(read_ranks(path), table([3, 1, 200]))
    more = table([3, 1]).assign(mAP=[1 / 3, 100.0])
    more.to_csv(path, index=False)
    pd.testing.assert_frame_equal(read_ranks(path), more)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("query_id,rank\na,1\n", "has no column video_id"),
        ("query_id,video_id,rank\na,v,0\n", "line 2: rank is no whole number from 1"),
        ("query_id,video_id,rank\na,v,1\nb,v,1.5\n", "line 3: rank is no whole number"),
        (f"query_id,video_id,rank\na,v,{'9' * 5000}\n", "line 2: rank is no whole number"),
        ("query_id,video_id,rank,mAP\na,v,1,x\n", "line 2: a measure is no number"),
        ("query_id,video_id,rank\n", "holds no query"),
        ("query_id,video_id,rank\na,v,1\na,v,2\n", "or one of them twice"),
    ],
)
def test_damaged_ranks_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "ranks.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_ranks(path)
