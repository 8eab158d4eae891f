import json
from pathlib import Path

import pytest
import torch

from benchmarks import encoding
from benchmarks.encoding import batches, encode_baseline, encode_product
from benchmarks.inputs import pair, settings, videos

CHOSEN = settings("synthetic")


def test_batches_count_up_and_the_last_is_smaller() -> None:
    found = list(batches(videos(CHOSEN, 3), 7))
    assert torch.cat([batch.row for batch in found]).tolist() == list(range(7))
    assert [len(batch.clips) for batch in found] == [3, 3, 1]


def test_both_encode_the_same_gallery() -> None:
    product, baseline = pair(CHOSEN)
    features = videos(CHOSEN, 2)
    gallery = encode_product(product.eval(), features, 3)
    clips, frames = (torch.cat(part) for part in encode_baseline(baseline.eval(), features, 3))
    assert gallery.rows.tolist() == [0, 1, 2]
    close = {"rtol": 0, "atol": 1e-4}
    for ours, theirs in ((clips, "clips"), (frames, "frames")):
        kept = torch.cat([part.videos.scales[theirs].tokens for part in gallery._parts])
        torch.testing.assert_close(kept, torch.nn.functional.normalize(ours, dim=-1), **close)


def test_table_and_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # a fresh process takes seconds to import torch
    monkeypatch.setattr(encoding, "in_fresh_process", lambda work, *arguments: work(*arguments))
    path = tmp_path / "encoding.json"
    encoding.main([
        "--config", "synthetic", "--videos", "3", "--batch", "2", "--rounds", "2",
        "--output", str(path),
    ])  # fmt: skip
    found = json.loads(path.read_text())
    assert [row["encode"] for row in found["results"]] == ["baseline", "product"]
    assert float(found["results"][1]["x baseline"].split()[0]) > 0
    assert all(row["peak MB"] >= 0 for row in found["results"])
    assert {name: len(taken) for name, taken in found["seconds"].items()} == {
        "baseline": 2, "product": 2,
    }  # fmt: skip
