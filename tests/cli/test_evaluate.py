import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from cli.outcomes import CONFIG, answers, best, tiny
from cli.running import run

from dreamprvr.module import PRVRModule
from dreamprvr.table import COLUMNS


@pytest.mark.parametrize(("verb", "name"), [("validate", "validation"), ("test", "test")])
def test_evaluation_prints_the_table_and_writes_metrics(
    trained: Path, verb: str, name: str
) -> None:
    result = run(verb, *CONFIG, "--ckpt_path", best(trained))
    assert result.code == 0, result
    found = json.loads((trained / "metrics.json").read_text())
    assert list(found) == list(COLUMNS)
    lines = result.out.strip().splitlines()
    row = next(line for line in lines if line.startswith(f"{name} "))
    assert [float(value) for value in row.split()[1:]] == [round(v, 1) for v in found.values()]
    assert lines[lines.index(row) - 1].split() == list(COLUMNS)
    assert sorted(path.name for path in (trained.parent).iterdir()) == ["version_0"]
    # val and test are the same files
    logged = pd.read_csv(trained / "metrics.csv")["val/SumR"].max()
    assert found["SumR"] == pytest.approx(logged, abs=1e-3)


def test_metrics_equal_a_direct_computation(trained: Path) -> None:
    assert run("test", *CONFIG, "--ckpt_path", best(trained)).code == 0
    found = json.loads((trained / "metrics.json").read_text())
    scores, queries, videos = answers(
        tiny(), PRVRModule.load_from_checkpoint(best(trained), map_location="cpu").network
    )
    truth = [videos.index(query.split("#")[0]) for query in queries]
    first = (scores.argmax(dim=1) == torch.tensor(truth)).float().mean() * 100
    assert found["R@1"] == pytest.approx(float(first), abs=1e-3)
    assert found["R@5"] == found["R@100"] == 100  # four videos
    assert found["SumR"] == pytest.approx(found["R@1"] + 300, abs=1e-3)
