import json
import math
from pathlib import Path

import pytest
import torch

from benchmarks.training_step import main, matrix_share


def test_share_of_matrix_products() -> None:
    a, b = torch.ones(300, 300), torch.ones(2000)
    assert matrix_share(lambda: a @ a @ a) > 0.8
    assert matrix_share(lambda: b.sin().exp()) == 0


@pytest.mark.slow
def test_table_and_json(tmp_path: Path) -> None:
    path = tmp_path / "step.json"
    main([
        "--configs", "synthetic", "--videos", "2", "--captions", "2", "--rounds", "2",
        "--threads", "1", "--output", str(path),
    ])  # fmt: skip
    found = json.loads(path.read_text())
    (row,) = found["results"]
    assert row["sizes of"] == "synthetic"
    assert math.isfinite(row["x baseline"])
    assert row["smallest"] <= row["x baseline"] <= row["largest"]
    for name in ("baseline", "product"):
        assert 0 < row[f"products, {name} %"] < 100
        assert len(found["details"]["synthetic"]["seconds"][name]) == 2
    assert found["machine"]["threads"] == 1
    assert found["sizes"] == {"videos": 2, "captions": 2, "rounds": 2}
