import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import ranking
from benchmarks.baseline.network import Baseline
from benchmarks.ranking import (
    EmbeddedQueries,
    embedded,
    gallery,
    rank_baseline,
    rank_product,
    token_parts,
)
from dreamprvr.models.dreamprvr.config import DreamPRVRConfig

CONFIG = DreamPRVRConfig(hidden_size=16, num_clips=3, max_frames=5, num_registers=0)
SIZES = ["--videos", "12", "--queries", "30", "--baseline_queries", "20", "--rounds", "2"]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "PART", 5)
    monkeypatch.setattr(ranking, "QUERY_BATCH", 7)


def test_tokens_come_in_parts() -> None:
    parts = list(token_parts(12, config=CONFIG))
    assert torch.cat([rows for rows, _ in parts]).tolist() == list(range(12))
    assert [videos.scales["clips"].tokens.shape for _, videos in parts] == [
        (5, 3, 16),
        (5, 3, 16),
        (2, 3, 16),
    ]
    first, second = (parts[i][1].scales["frames"].tokens for i in range(2))
    assert not torch.equal(first, second)


def test_both_rank_alike() -> None:
    queries, filled = embedded(40, 12, config=CONFIG), gallery(12, config=CONFIG)
    parts = [videos.scales for _, videos in token_parts(12, config=CONFIG)]
    clips, frames = (torch.cat([p[name].tokens for p in parts]) for name in ("clips", "frames"))
    product_ranks = torch.cat(list(rank_product(filled, queries).rank)).tolist()
    baseline_ranks = rank_baseline(Baseline(2, 2, CONFIG), (clips, frames), queries)
    assert product_ranks == baseline_ranks
    assert len(set(baseline_ranks)) > 5


def test_queries_are_embedded_already() -> None:
    queries = embedded(3, 2, config=CONFIG)
    network = EmbeddedQueries(CONFIG)
    assert torch.equal(network.encode_queries(*queries[1:3]).embedding, queries.words[:, 0])


def run(path: Path, *options: str) -> Any:
    ranking.main([*SIZES, "--output", str(path), *options])
    return json.loads(path.read_text())


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "in_fresh_process", lambda work, *arguments: work(*arguments))


@pytest.mark.usefixtures("at_once")
def test_table_and_json(tmp_path: Path) -> None:
    found = run(tmp_path / "r.json")
    assert [(row["rank"], row["queries"]) for row in found["results"]] == [
        ("baseline", 20), ("product", 20), ("product", 30),
    ]  # fmt: skip
    assert float(found["results"][1]["x baseline"].split()[0]) > 0
    assert found["sample"]["equal_ranks"] == 1
    assert found["results"][2]["peak MB beyond gallery"] >= 0
    assert 0 <= found["whole"]["result"]["R@1"] <= 100


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_product_only(tmp_path: Path, dtype: str) -> None:
    found = run(tmp_path / "r.json", "--product_only", "--dtype", dtype)
    assert [row["rank"] for row in found["results"]] == ["product"]
    assert found["sample"] is None
    assert found["options"]["dtype"] == dtype


@pytest.mark.usefixtures("at_once")
def test_without_memory_for_the_baseline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ranking.baseline_fits(10)
    assert not ranking.baseline_fits(10**9)
    monkeypatch.setattr(ranking, "baseline_fits", lambda videos: False)
    assert run(tmp_path / "r.json")["sample"] is None
