from pathlib import Path

import pandas as pd
import torch
import yaml
from cli.outcomes import CONFIG, best, losses, state
from cli.running import Result, run, write_config

from dreamprvr.evaluation.metrics import COLUMNS


def test_fit_fills_the_run_folder(trained: Path, fit_output: Result) -> None:
    names = {str(path.relative_to(trained)) for path in trained.rglob("*") if path.is_file()}
    kept = {"checkpoints/best.ckpt", "checkpoints/last.ckpt"}
    assert names == {"config.yaml", "metrics.csv"} | kept
    header, row, where = fit_output.out.strip().splitlines()[-3:]
    assert header.split() == list(COLUMNS)
    assert row.startswith("tiny val, epoch ")
    assert where.startswith("best checkpoint: ")
    assert where.endswith("best.ckpt")
    table = pd.read_csv(trained / "metrics.csv")
    assert {"loss", "train/kl", *(f"val/{name}" for name in COLUMNS)} <= set(table)
    assert table["val/SumR"].notna().sum() == 2


def test_best_is_the_epoch_of_the_highest_validation_sumr(trained: Path) -> None:
    sums = pd.read_csv(trained / "metrics.csv")["val/SumR"].dropna().tolist()
    assert torch.load(best(trained), weights_only=True)["epoch"] == sums.index(max(sums))
    assert torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] == 1


def test_the_saved_configuration_trains_again(trained: Path) -> None:
    saved = yaml.safe_load((trained / "config.yaml").read_text())
    assert saved["trainer"]["max_epochs"] == 2
    assert saved["model"]["init_args"]["network"]["hidden_size"] == 8
    assert run("test", "--config", trained / "config.yaml", "--ckpt_path", best(trained)).code == 0


def test_same_seed_same_losses_and_weights(trained: Path) -> None:
    first = trained.rename(trained.parent / "first")
    assert run("fit", *CONFIG).code == 0
    pd.testing.assert_frame_equal(losses(first), losses(trained), check_exact=True)
    assert len(losses(trained)) > 4
    ours, theirs = (state(folder / "checkpoints" / "last.ckpt") for folder in (first, trained))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())


def test_another_seed_gives_other_losses(trained: Path) -> None:
    assert run("fit", *CONFIG, "--seed_everything", "1", "--trainer.max_epochs", "1").code == 0
    other = losses(trained.parent / "version_1")["loss"].dropna().tolist()
    assert other[0] != losses(trained)["loss"].dropna().tolist()[0]


def test_resuming_after_ctrl_c_equals_an_uninterrupted_run(trained: Path) -> None:
    whole = trained.rename(trained.parent.parent / "whole")
    Path("interrupt.yaml").write_text(
        "trainer: {callbacks: [{class_path: cli.running.Interrupt}]}\n"
    )
    stopped = run("fit", *CONFIG, "--config", "interrupt.yaml")
    assert stopped.code == 130, stopped
    assert "Traceback" not in stopped.out + stopped.err
    last = trained / "checkpoints" / "last.ckpt"
    assert torch.load(last, weights_only=True)["epoch"] == 0
    before = (trained / "metrics.csv").read_text()

    resumed = run("fit", *CONFIG, "--ckpt_path", last)
    assert resumed.code == 0, resumed
    assert [path.name for path in trained.parent.iterdir()] == ["version_0"]
    assert (trained / "metrics.csv").read_text().startswith(before)
    for name in ("last.ckpt", "best.ckpt"):
        theirs = state(trained / "checkpoints" / name)
        for key, value in state(whole / "checkpoints" / name).items():
            assert torch.equal(value, theirs[key]), f"{name}: {key}"
    second = losses(whole)["loss"].dropna().tolist()[-3:]
    assert losses(trained)["loss"].dropna().tolist()[-3:] == second


def test_no_registers(tmp_path: Path) -> None:
    config = write_config(tmp_path, epochs=1, num_registers=0)
    assert run("fit", "--config", config).code == 0
    folder = tmp_path / "runs" / "version_0"
    assert not any("diffusion" in name or "register" in name for name in state(best(folder)))
    assert run("test", "--config", config, "--ckpt_path", best(folder)).code == 0
