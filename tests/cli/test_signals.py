"""Signals at every stage of a command; a training that a signal ended resumes identically."""

import signal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from cli.outcomes import CONFIG, best, differences
from cli.running import Result, launch, run, with_callback

INT, TERM, HUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP


def stopped(number: int, moment: str, count: int = 0, *options: Any) -> Result:
    """A training of two epochs of three steps that a signal ended: no traceback, its exit code."""
    send = with_callback("SendSignal", number=int(number), moment=moment, count=count)
    result = run("fit", *CONFIG, *send, *options)
    assert result.code == 128 + number, result
    assert "Traceback" not in result.out + result.err
    assert len(result.err.strip().splitlines()) == 1, result.err
    return result


@pytest.mark.parametrize(
    ("number", "moment", "count"),
    [
        (TERM, "on_train_batch_end", 0),
        (INT, "on_train_batch_end", 2),  # the last batch of an epoch, before its validation
        (HUP, "on_train_batch_start", 4),
        (TERM, "on_validation_start", 0),
        (INT, "on_validation_batch_end", 1),
        (TERM, "on_validation_end", 0),
        (TERM, "on_train_epoch_end", 0),
        (INT, "on_save_checkpoint", 1),
    ],
)
def test_a_stopped_training_continues_identically(
    trained: Path, number: int, moment: str, count: int
) -> None:
    whole = trained.rename(trained.parent.parent / "whole")
    result = stopped(number, moment, count)
    last = trained / "checkpoints" / "last.ckpt"
    how = {INT: "interrupted", TERM: "stopped by SIGTERM", HUP: "stopped by SIGHUP"}[number]
    resume = f"resume with --ckpt_path {last.relative_to(Path.cwd())}"
    assert result.err.strip().replace(f"{Path.cwd()}/", "") == f"{how}: {resume}"
    assert run("fit", *CONFIG, "--ckpt_path", last).code == 0
    assert [path.name for path in trained.parent.iterdir()] == ["version_0"]
    for name in ("last.ckpt", "best.ckpt"):
        assert differences(whole / "checkpoints" / name, trained / "checkpoints" / name) == []


def test_the_step_that_was_finished_last_is_logged(trained: Path) -> None:
    whole = pd.read_csv(trained / "metrics.csv")
    trained.rename(trained.parent.parent / "whole")
    stopped(TERM, "on_train_batch_start", 3)
    assert run("fit", *CONFIG, "--ckpt_path", trained / "checkpoints" / "last.ckpt").code == 0
    resumed = pd.read_csv(trained / "metrics.csv")
    for name in ("loss", "val/SumR"):
        pd.testing.assert_frame_equal(
            *(one[["step", name]].dropna().reset_index(drop=True) for one in (whole, resumed))
        )


@pytest.mark.parametrize(
    "moment", ["setup", "on_fit_start", "on_train_start", "on_train_epoch_start"]
)
def test_before_the_first_step_nothing_is_saved(trained: Path, moment: str) -> None:
    result = stopped(TERM, moment)
    expected = "no step was finished and nothing was saved: run the same command again"
    assert result.err.strip() == f"stopped by SIGTERM: {expected}"
    assert not (trained.parent / "version_1" / "checkpoints").exists()


def test_a_resumed_training_that_is_stopped_at_once_names_what_it_was_resumed_from(
    trained: Path,
) -> None:
    best_one = best(trained)
    (trained / "checkpoints" / "last.ckpt").unlink()
    more = ("--trainer.max_epochs", "3", "--ckpt_path", best_one)
    result = stopped(TERM, "on_train_start", 0, *more)
    assert result.err.strip() == f"stopped by SIGTERM: resume with --ckpt_path {best_one}"


@pytest.mark.parametrize("verb", ["test", "validate", "predict"])
def test_other_commands_end_at_once(trained: Path, verb: str) -> None:
    moment = {"validate": "validation"}.get(verb, verb)
    send = with_callback("SendSignal", number=int(TERM), moment=f"on_{moment}_batch_end", count=1)
    result = run(verb, *CONFIG, *send, "--ckpt_path", best(trained))
    assert (result.code, result.err.strip()) == (143, "stopped by SIGTERM")
    assert "Traceback" not in result.out
    assert not Path("predictions.jsonl").exists()
    assert not (trained / "metrics.json").exists()


def test_accumulated_batches_become_a_step_first(trained: Path) -> None:
    accumulate = ("--trainer.accumulate_grad_batches", "2")
    whole = trained.parent / "version_1"
    assert run("fit", *CONFIG, *accumulate).code == 0
    stopped(TERM, "on_train_batch_end", 3, *accumulate)  # the first of two batches
    last = trained.parent / "version_2" / "checkpoints" / "last.ckpt"
    assert run("fit", *CONFIG, *accumulate, "--ckpt_path", last).code == 0
    assert differences(whole / "checkpoints" / "last.ckpt", last) == []


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_second_signal_ends_at_once(trained: Path, workers: str) -> None:
    again = with_callback("SendTwice", number=int(TERM), moment="on_train_batch_start")
    result = launch("fit", *CONFIG, *again, "--data.num_workers", workers)
    assert result.code == -TERM  # a shell says 143
    assert "Traceback" not in result.err
