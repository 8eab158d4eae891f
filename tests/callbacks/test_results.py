import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from dreamprvr.callbacks.results import Results, run_folder
from dreamprvr.table import COLUMNS

MODULE: Any = None


def recalls(sum_r: float) -> dict[str, float]:
    return dict(zip(COLUMNS, (1.0, 2.0, 3.0, 4.0, sum_r), strict=True))


def trainer(fn: str = "fit", prefix: str = "val", sum_r: float = 10.0, **changes: Any) -> Any:
    metrics = {f"{prefix}/{k}": torch.tensor(v) for k, v in recalls(sum_r).items()}
    values: dict[str, Any] = {
        "state": SimpleNamespace(fn=fn), "callback_metrics": metrics | {"loss": torch.tensor(7.0)},
        "sanity_checking": False, "current_epoch": 0, "ckpt_path": None, "log_dir": None,
        "default_root_dir": "runs/here", "checkpoint_callback": None,
    }  # fmt: skip
    return SimpleNamespace(**(values | changes))


@pytest.mark.parametrize(
    ("checkpoint", "log_dir", "expected"),
    [
        ("runs/a/version_3/checkpoints/best.ckpt", "runs/b", "runs/a/version_3"),
        (Path("runs/a/checkpoints/best.ckpt"), None, "runs/a"),
        ("downloads/best.ckpt", "runs/b/version_0", "runs/b/version_0"),
        ("downloads/best.ckpt", None, "runs/here"),
        (None, "runs/b", "runs/b"),
    ],
)
def test_run_folder(checkpoint: str | None, log_dir: str | None, expected: str) -> None:
    assert run_folder(trainer(ckpt_path=checkpoint, log_dir=log_dir)) == Path(expected)


def test_the_best_epoch_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    results = Results()
    for epoch, sum_r in enumerate((10.0, 40.0, 40.0, 30.0)):
        results.on_validation_end(trainer(sum_r=sum_r, current_epoch=epoch), MODULE)
    assert capsys.readouterr().out == ""
    checkpoint = SimpleNamespace(best_model_path="runs/best.ckpt")
    results.on_fit_end(trainer(checkpoint_callback=checkpoint), MODULE)
    out = capsys.readouterr().out
    assert "validation, epoch 1" in out
    assert out.splitlines()[2].split()[-1] == "40.0"
    assert "best checkpoint: runs/best.ckpt" in out
    assert not Path("runs").exists()


def test_sanity_checks_and_epochs_without_validation_do_not_count(
    capsys: pytest.CaptureFixture[str],
) -> None:
    results = Results()
    results.on_validation_end(trainer(sanity_checking=True), MODULE)
    results.on_validation_end(trainer(callback_metrics={}), MODULE)
    results.on_fit_end(trainer(), MODULE)
    assert results.state_dict() == {"best": {}, "best_epoch": -1}
    assert capsys.readouterr().out == ""


def test_a_resumed_run_knows_its_best_epoch() -> None:
    first, second = Results(), Results()
    first.on_validation_end(trainer(sum_r=50.0, current_epoch=4), MODULE)
    second.load_state_dict(first.state_dict())
    second.on_validation_end(trainer(sum_r=45.0, current_epoch=5), MODULE)
    assert (second.best, second.best_epoch) == (recalls(50.0), 4)
    second.on_validation_end(trainer(sum_r=51.0, current_epoch=6), MODULE)
    assert (second.best, second.best_epoch) == (recalls(51.0), 6)


def test_the_state_is_builtins(tmp_path: Path) -> None:
    results = Results()
    results.on_validation_end(trainer(), MODULE)
    torch.save(results.state_dict(), tmp_path / "a")
    assert torch.load(tmp_path / "a", weights_only=True) == results.state_dict()


@pytest.mark.parametrize(("fn", "prefix"), [("test", "test"), ("validate", "val")])
def test_evaluation_writes_metrics(
    fn: str, prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    results, run = Results(), trainer(fn, prefix, 12.34, ckpt_path="runs/v/checkpoints/a.ckpt")
    (results.on_test_end if fn == "test" else results.on_validation_end)(run, MODULE)
    written = json.loads(Path("runs/v/metrics.json").read_text())
    assert written == pytest.approx(recalls(12.34))
    assert list(written) == list(COLUMNS)
    out = capsys.readouterr().out
    assert ("test" if fn == "test" else "validation") in out
    assert "12.3" in out
    assert "metrics.json" in out
    assert results.best == {}
