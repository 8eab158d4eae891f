import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import accelerator

SMALL = [
    "--device", "cpu", "--config", "synthetic", "--videos", "3", "--captions", "2", "--batch", "2",
    "--steps", "1", "--rounds", "1", "--epochs", "1", "--matmul", "16", "--evaluations", "8x6",
]  # fmt: skip


def test_table_and_json(tmp_path: Path) -> None:
    path = tmp_path / "accelerator.json"
    accelerator.main([*SMALL, "--variants", "plain", "--output", str(path)])
    found = json.loads(path.read_text())
    (row,) = found["results"]
    assert row["training"] == "plain"
    assert row["error"] == ""
    for name in ("step s", "epoch s", "TFLOP/s", "% of matmul"):
        assert row[name] > 0
        assert math.isfinite(row[name])
    assert row["GB beyond features"] is None  # the CPU cannot tell
    assert found["step_flops"] > 1e6
    assert len(found["evaluations"]["8x6"]["rounds"]) == 1


def test_a_variant_that_fails_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(chosen: Any, split: Any, asked: Any, name: str) -> dict[str, Any]:
        if name == "compile":
            raise RuntimeError("no compiler\nmore")
        return {"step s": 2.0}

    def out_of_memory(*arguments: Any) -> dict[str, Any]:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(accelerator, "evaluation", out_of_memory)
    monkeypatch.setattr(accelerator, "measure_training", failing)
    path = tmp_path / "accelerator.json"
    accelerator.main([*SMALL, "--variants", "compile", "fused", "--output", str(path)])
    written = json.loads(path.read_text())
    assert "no compiler\nmore" in written["variants"]["compile"]["traceback"]
    assert written["evaluations"]["8x6"]["error"] == "RuntimeError: out of memory"
    failed, other = written["results"]
    assert (failed["error"], failed["step s"]) == ("RuntimeError: no compiler", None)
    assert (other["error"], other["step s"]) == ("", 2.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--device", "cuda"], "no CUDA GPU here"), (["--batch", "9"], "more than --videos 3")],
)
def test_options_that_cannot_be(
    options: list[str], message: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        accelerator.main([*SMALL, *options])
    assert message in capsys.readouterr().err
