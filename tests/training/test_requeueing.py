"""A training in a job of SLURM, with a `scontrol` that only notes what it is asked."""

import signal
from pathlib import Path

import pytest
from cli.outcomes import differences
from cli.running import launch, run, with_callback, write_config

from dreamprvr.training.requeueing import job, noted_checkpoint

USR1 = signal.SIGUSR1
JOB = {
    "SLURM_JOB_ID": "77", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "1", "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_NTASKS_PER_NODE": "1",
}  # fmt: skip


@pytest.fixture
def scontrol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the commands that `scontrol` was given are noted."""
    program = tmp_path / "bin" / "scontrol"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    return tmp_path / "asked"


@pytest.mark.slow
def test_a_job_saves_is_requeued_and_goes_on_identically(tmp_path: Path, scontrol: Path) -> None:
    config = ("--config", write_config(tmp_path), "--config", "slurm.yaml")
    runs, whole = tmp_path / "runs", tmp_path / "whole"
    assert run("fit", *config, "--trainer.default_root_dir", whole).code == 0
    send = with_callback("SendSignal", number=int(USR1), moment="on_train_batch_end", count=4)
    stopped = launch("fit", *config, *send, "--trainer.default_root_dir", runs, **JOB)
    assert stopped.code == 128 + USR1, stopped
    assert "job 77 is requeued\nstopped by SIGUSR1: resume with --ckpt_path" in stopped.err
    assert scontrol.read_text() == "requeue 77\n"

    again = {**JOB, "SLURM_RESTART_COUNT": "1"}
    done = launch("fit", *config, "--trainer.default_root_dir", runs, **again)
    assert done.code == 0, done
    assert sorted(path.name for path in runs.iterdir()) == ["slurm-77.txt", "version_0"]
    last = [folder / "version_0" / "checkpoints" / "last.ckpt" for folder in (whole, runs)]
    assert differences(*last) == []


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({}, None),
        ({"SLURM_JOB_ID": "5"}, "5"),
        ({"SLURM_JOB_ID": "9", "SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "2"}, "5_2"),
        ({"SLURM_JOB_ID": "5; ls"}, None),
    ],
)
def test_number_of_the_job(
    monkeypatch: pytest.MonkeyPatch, names: dict[str, str], expected: str | None
) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    assert job() == expected


def test_only_a_requeued_job_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = tmp_path / "last.ckpt"
    checkpoint.touch()
    (tmp_path / "slurm-5.txt").write_text(f"{checkpoint}\n")
    monkeypatch.setenv("SLURM_JOB_ID", "5")
    assert noted_checkpoint(tmp_path) is None
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert noted_checkpoint(tmp_path) == str(checkpoint)
    monkeypatch.setenv("SLURM_JOB_ID", "6")
    assert noted_checkpoint(tmp_path) is None
    monkeypatch.setenv("SLURM_JOB_ID", "5")
    checkpoint.unlink()
    assert noted_checkpoint(tmp_path) is None
