import json
from pathlib import Path

import pytest
import torch

from benchmarks import loading
from data_modules.base import FeatureSet
from data_modules.charades import Charades


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "VIDEOS", 7)
    monkeypatch.setattr(loading, "CAPTIONS", 12)
    monkeypatch.setattr(loading, "BATCH", 3)
    monkeypatch.setattr(loading, "SETTLE", 0)
    monkeypatch.setattr(
        Charades, "feature_sets", {"standard": FeatureSet("FeatureData/v", "TextData/t", 8, 6)}
    )


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # Python 3.12 warns of threads
def test_all_ways_load_the_same(tmp_path: Path):
    loading.generate(tmp_path)
    batches = {}
    for name, loader in loading.loaders(tmp_path).items():
        torch.manual_seed(0)
        batches[name] = list(loader)
    exact = batches["per-item HDF5, 1 worker"]
    assert sum(len(batch.labels) for batch in exact) == 12
    baseline = batches.pop(loading.PER_ITEM)  # in an order of its own: compared by video
    ours, theirs = (torch.cat([batch.videos.row for batch in way]) for way in (exact, baseline))
    for part in range(1, 4):
        a, b = (torch.cat([batch.videos[part] for batch in way]) for way in (exact, baseline))
        torch.testing.assert_close(a[ours.argsort()], b[theirs.argsort()], rtol=0, atol=1e-6)
    for name, found in batches.items():
        assert len(found) == len(exact) == 3
        tolerance = 1e-3 if "16" in name else 1e-6
        for one, other in zip(found, exact, strict=True):
            pairs = zip([*one.videos, *one.queries, one.labels],
                        [*other.videos, *other.queries, other.labels], strict=True)  # fmt: skip
            for a, b in pairs:
                torch.testing.assert_close(a, b, rtol=0, atol=tolerance)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_the_table_and_its_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    output = tmp_path / "loading.json"
    loading.main(["--rounds", "2", "--folder", str(tmp_path), "--output", str(output)])
    out = capsys.readouterr().out
    result = json.loads(output.read_text())
    assert len(result["results"]) == 6
    assert result["results"][0]["x baseline"] == "1.00 (1.00 to 1.00)"
    for row in result["results"]:
        assert row["way of loading"] in out
        assert len(result["seconds_a_batch"][row["way of loading"]]) == 2
        assert row["batches a second"] > 0
    assert set(result["machine"]) >= {"cpu", "cores", "load", "threads", "torch"}
