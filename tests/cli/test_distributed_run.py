"""Two processes started by the command line itself, as on a machine with two devices."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cli.outcomes import read_lines
from cli.running import Result, Tiny, launch, run, write_config

from data_modules.testing import write_tiny
from dreamprvr.evaluation.metrics import COLUMNS

DDP = (
    "--trainer.devices", "2", "--trainer.strategy", "ddp", "--trainer.accelerator", "cpu",
)  # fmt: skip


@pytest.mark.slow
def test_ddp_trains_and_evaluates_as_one_process_does(tmp_path: Path) -> None:
    # odd numbers, so that one process has less to do; R@1, R@5 and R@10 are not 100 by themselves
    write_tiny(Tiny, tmp_path / "data", train=7, val=33)
    config = ("--config", write_config(tmp_path))
    fitted = launch("fit", *config, *DDP)
    assert fitted.code == 0, fitted
    assert "distributed_backend=gloo" in fitted.err
    assert "warn" not in fitted.err.lower()
    assert "recommended" not in fitted.err
    folder = tmp_path / "runs" / "version_0"
    assert [path.name for path in folder.parent.iterdir()] == ["version_0"]
    table = pd.read_csv(folder / "metrics.csv")
    logged = table.dropna(subset=["val/SumR"])
    assert logged["epoch"].tolist() == [0, 1]
    # 7 videos: each of two processes takes one full batch of 3 an epoch
    losses = table["loss"].dropna()
    assert len(losses) == 2
    assert np.isfinite(losses).all()

    checkpoint = ("--ckpt_path", folder / "checkpoints" / "last.ckpt")
    whole = results(run("validate", *config, *checkpoint), folder)
    last = logged.iloc[-1]
    assert {name: last[f"val/{name}"] for name in whole} == whole
    assert 0 < whole["SumR"] < 300

    # val and test are the same files
    assert results(launch("test", *config, *DDP, *checkpoint), folder) == whole


@pytest.mark.slow
def test_ddp_predicts_each_query_once_in_order(tmp_path: Path) -> None:
    """Odd numbers of videos and queries, in batches that do not fit either."""
    write_tiny(Tiny, tmp_path / "data", train=7, val=33)
    config = ("--config", write_config(tmp_path, epochs=1))
    assert run("fit", *config).code == 0
    checkpoint = ("--ckpt_path", tmp_path / "runs" / "version_0" / "checkpoints" / "last.ckpt")
    found = launch("predict", *config, *DDP, *checkpoint, "--output", "two.jsonl", "--top_k", "5")
    assert found.code == 0, found
    assert found.out.count("written to") == 1
    alone = run("predict", *config, *checkpoint, "--output", "one.jsonl", "--top_k", "5")
    assert alone.code == 0, alone
    one, two = read_lines(Path("one.jsonl")), read_lines(Path("two.jsonl"))
    assert len(one) == len(two) == len(Tiny(tmp_path / "data").annotations("test").queries)
    for ours, theirs in zip(one, two, strict=True):
        assert ours["query_id"] == theirs["query_id"]
        assert ours["rank"] == theirs["rank"]
        for hit, other in zip(ours["hits"], theirs["hits"], strict=True):
            assert hit["video_id"] == other["video_id"]
            assert hit["score"] == pytest.approx(other["score"], abs=1e-5)

    Path("folder.jsonl").mkdir()
    failed = launch("predict", *config, *DDP, *checkpoint, "--output", "folder.jsonl")
    assert failed.code != 0
    assert "folder.jsonl is a folder" in failed.err
    assert "Traceback" not in failed.err


def results(result: Result, folder: Path) -> dict[str, float]:
    assert result.code == 0, result
    (found,) = json.loads((folder / "metrics.json").read_text())["results"]
    (folder / "metrics.json").unlink()  # the next command writes its own
    return {name: found[name] for name in COLUMNS}
