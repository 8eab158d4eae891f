import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from cli.running import Tiny
from labels import write_labels
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from data_modules.testing import write_tiny
from dreamprvr.core.errors import UserError
from dreamprvr.evaluation.metrics import COLUMNS, Coverage
from dreamprvr.evaluation.record import KEY, Origin
from dreamprvr.training.callbacks.results import Results, run_folder

MODULE: Any = SimpleNamespace(
    coverage=Coverage(3, 4, 5, 9), origin=Origin(7, 3, 12), hparams={"network": {}},
    gallery_dtype="float32",
)  # fmt: skip


def recalls(sum_r: float) -> dict[str, float]:
    return dict(zip(COLUMNS, (1.0, 2.0, 3.0, 4.0, sum_r), strict=True))


def trainer(fn: str = "fit", prefix: str = "val", sum_r: float = 10.0, **changes: Any) -> Any:
    metrics = {f"{prefix}/{k}": torch.tensor(v) for k, v in recalls(sum_r).items()}
    values: dict[str, Any] = {
        "state": SimpleNamespace(fn=fn), "callback_metrics": metrics | {"loss": torch.tensor(7.0)},
        "sanity_checking": False, "current_epoch": 0, "ckpt_path": None, "loggers": [],
        "default_root_dir": "runs/here", "checkpoint_callback": None, "checkpoint_callbacks": [],
        "callbacks": [], "limit_val_batches": 1.0, "limit_test_batches": 1.0,
        "precision": "32-true",
        "datamodule": SimpleNamespace(collection="tiny"),
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
    loggers = [SimpleNamespace(log_dir=log_dir)] if log_dir else []
    assert run_folder(trainer(ckpt_path=checkpoint, loggers=loggers)) == Path(expected)


def test_the_best_epoch_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    results = Results()
    for epoch, sum_r in enumerate((10.0, 40.0, 40.0, 30.0)):
        results.on_validation_end(trainer(sum_r=sum_r, current_epoch=epoch), MODULE)
    assert capsys.readouterr().out == ""
    checkpoint = SimpleNamespace(best_model_path="runs/best.ckpt")
    results.on_fit_end(trainer(checkpoint_callback=checkpoint), MODULE)
    out = capsys.readouterr().out
    assert "tiny val, epoch 1 " in out
    assert out.splitlines()[2].split()[-1] == "40.0"
    assert "best checkpoint: runs/best.ckpt" in out
    assert not Path("runs").exists()


def test_sanity_checks_and_epochs_without_validation_do_not_count(
    capsys: pytest.CaptureFixture[str],
) -> None:
    results = Results()
    results.on_validation_end(trainer(sanity_checking=True), MODULE)
    results.on_validation_end(trainer(callback_metrics={}), MODULE)
    results.on_fit_end(trainer(limit_val_batches=0), MODULE)
    assert results.state_dict() == {"best": {}, "best_epoch": -1}
    assert capsys.readouterr().out == (
        "\nnothing was validated (trainer.limit_val_batches is 0): no best checkpoint\n"
    )


def test_a_resumed_run_knows_its_best_epoch() -> None:
    first, second = Results(), Results()
    first.on_validation_end(trainer(sum_r=50.0, current_epoch=4), MODULE)
    second.load_state_dict(first.state_dict())
    second.on_validation_end(trainer(sum_r=45.0, current_epoch=5), MODULE)
    assert (second.best, second.best_epoch) == (recalls(50.0), 4)
    second.on_validation_end(trainer(sum_r=51.0, current_epoch=6), MODULE)
    assert (second.best, second.best_epoch) == (recalls(51.0), 6)


def labelled(tmp_path: Path) -> Tiny:
    write_tiny(Tiny, tmp_path / "data")
    path = tmp_path / "dense.jsonl"
    write_labels(path, Tiny(tmp_path / "data").annotations("val"), leave_out=2)
    return Tiny(tmp_path / "data", labels=path)


@pytest.mark.parametrize("stage", ["fit", "validate", "test", "predict"])
def test_the_match_of_labels_is_printed_before_computing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], stage: str
) -> None:
    data = labelled(tmp_path)
    Results().setup(trainer(datamodule=data), MODULE, stage)
    found = capsys.readouterr()
    split = "val" if stage in ("fit", "validate") else "test"
    assert f"dense.jsonl: {len(data.annotations(split).evaluated().queries)} capt" in found.out
    assert f"tiny {split}, with " in found.out
    assert found.err.startswith("warning: labels of ")
    assert found.err.count("\n") == 1
    plain = Tiny(tmp_path / "data")
    Results().setup(trainer(datamodule=plain), MODULE, stage)
    assert capsys.readouterr() == ("", "")


def test_a_best_epoch_is_of_one_file_of_labels(tmp_path: Path) -> None:
    data = labelled(tmp_path)
    first, same, other = Results(), Results(), Results()
    for results in (first, same):
        results.setup(trainer(datamodule=data), MODULE, "fit")
    assert first.state_dict() == {
        "best": {}, "best_epoch": -1, "labels": data.annotations("val").labels(),
    }  # fmt: skip
    other.load_state_dict(first.state_dict())  # no best epoch yet
    first.on_validation_end(trainer(datamodule=data), MODULE)
    same.load_state_dict(first.state_dict())
    assert same.best == recalls(10.0)
    with pytest.raises(UserError, match="chosen by other labels than those of data"):
        other.load_state_dict(first.state_dict())


def test_measures_of_several_true_videos_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results, run = Results(), trainer(datamodule=labelled(tmp_path))
    run.callback_metrics["val/mAP"] = torch.tensor(33.25)
    results.on_validation_end(run, MODULE)
    results.on_fit_end(run, MODULE)
    header, row = capsys.readouterr().out.split("\n")[1:3]
    assert row.startswith("tiny val, labels dense.jsonl, epoch 0 ")
    assert (header.split()[-1], row.split()[-1]) == ("mAP", "33.2")


def test_the_state_is_builtins(tmp_path: Path) -> None:
    results = Results()
    results.on_validation_end(trainer(), MODULE)
    torch.save(results.state_dict(), tmp_path / "a")
    assert torch.load(tmp_path / "a", weights_only=True) == results.state_dict()


def evaluate(fn: str, prefix: str, **changes: Any) -> None:
    results, run = Results(), trainer(fn, prefix, 12.34, **changes)
    (results.on_test_end if fn == "test" else results.on_validation_end)(run, MODULE)
    assert results.best == {}


@pytest.fixture
def data(tmp_path: Path) -> Tiny:
    write_tiny(Tiny, tmp_path / "data", val=4)
    return Tiny(tmp_path / "data")


BEST = "runs/v/checkpoints/a.ckpt"


def test_each_evaluation_is_recorded(data: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    for fn, split in (("test", "test"), ("validate", "val"), ("test", "test")):
        evaluate(fn, split, ckpt_path=BEST, datamodule=data)
        out = capsys.readouterr().out
        assert f"tiny {split}" in out
        assert "12.3" in out
        assert out.endswith("written to runs/v/metrics.json\n")
    val, test = json.loads(Path("runs/v/metrics.json").read_text())["results"]
    assert (val["split"], test["split"]) == ("val", "test")
    for entry in (val, test):
        assert {name: entry[name] for name in COLUMNS} == pytest.approx(recalls(12.34))
        assert [entry[name] for name in ("seed", "epoch", "step", "videos")] == [7, 3, 12, 4]
        assert entry["checkpoint"] == "checkpoints/a.ckpt"
        assert {*KEY, "date", "version", "commit", "command"} <= set(entry)
        assert entry["data"] == "tiny"
        assert entry["features"] == "standard"


@pytest.mark.parametrize(("fn", "split"), [("test", "test"), ("validate", "val")])
def test_a_part_is_marked_and_not_recorded(
    fn: str, split: str, data: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(fn, split, ckpt_path=BEST, datamodule=data)
    whole = Path("runs/v/metrics.json").read_text()
    capsys.readouterr()
    evaluate(fn, f"{split}_partial", ckpt_path=BEST, datamodule=data)
    out = capsys.readouterr().out
    assert f"tiny {split}, PARTIAL (3 of 4 videos, 5 of 9 captions) " in out
    assert "not recorded" in out
    assert Path("runs/v/metrics.json").read_text() == whole


def test_a_record_that_cannot_be_written_costs_no_table(
    data: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("runs").touch()
    evaluate("test", "test", ckpt_path=BEST, datamodule=data)
    out, err = capsys.readouterr()
    assert out.splitlines()[-1].split() == ["tiny", "test", "1.0", "2.0", "3.0", "4.0", "12.3"]
    assert err.startswith("not recorded: cannot write runs/v/metrics.json: ")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(("verb", "split"), [("test", "test"), ("validate", "val")])
def test_to_evaluate_nothing_is_refused(verb: str, split: str) -> None:
    limit = f"limit_{split}_batches"
    with pytest.raises(UserError, match=f"trainer.{limit} is 0"):
        Results().setup(trainer(**{limit: 0}), MODULE, verb)
    Results().setup(trainer(limit_val_batches=0, limit_test_batches=0), MODULE, "fit")


def test_nothing_is_chosen_by_a_part(capsys: pytest.CaptureFixture[str]) -> None:
    stop, typo = EarlyStopping("val/SumR"), EarlyStopping("val/SunR")
    best, other = ModelCheckpoint(monitor="val/R@1"), ModelCheckpoint(monitor="loss")
    run = trainer(
        prefix="val_partial", current_epoch=2, callbacks=[stop, typo],
        checkpoint_callbacks=[best, other], limit_val_batches=1,
    )  # fmt: skip
    results = Results()
    results.setup(run, MODULE, "fit")
    assert (stop.strict, typo.strict) == (False, True)
    assert (best.save_top_k, other.save_top_k) == (1, 1)
    results.on_validation_end(run, MODULE)
    assert (best.save_top_k, other.save_top_k) == (0, 1)
    assert results.state_dict() == {"best": {}, "best_epoch": -1}
    results.on_fit_end(run, MODULE)
    out = capsys.readouterr().out
    assert "tiny val, epoch 2, PARTIAL (3 of 4 videos, 5 of 9 captions) " in out
    assert "no best checkpoint" in out
