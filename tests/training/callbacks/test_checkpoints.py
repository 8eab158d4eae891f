"""When `best.ckpt` and `last.ckpt` are written, in trainings by the command line."""

import errno
import os
import signal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from cli.outcomes import differences
from cli.running import Tiny, refused, run, with_callback, write_config
from limits import full_disk
from recorder import QUIET, module, trainer

from data_modules.testing import write_tiny
from dreamprvr.core import stopping
from dreamprvr.core.errors import UserError
from dreamprvr.training.callbacks.checkpoints import (
    AtomicCheckpointIO,
    RunCheckpoint,
    job,
    noted_checkpoint,
)

pytestmark = QUIET
STOPPING = {
    "class_path": "lightning.pytorch.callbacks.EarlyStopping",
    "init_args": {"monitor": "val/SumR", "mode": "max", "patience": 10},
}


def train(folder: Path, *options: str, epochs: int = 2, callbacks: Any = None) -> Path:
    """Train on 7 videos (3 steps an epoch); returns the folder of the checkpoints."""
    config = write_config(folder, epochs=epochs)
    content = yaml.safe_load(config.read_text())
    content["trainer"]["callbacks"] = callbacks or [STOPPING]
    config.write_text(yaml.safe_dump(content))
    result = run("fit", "--config", config, *options)
    assert result.code == 0, result
    (found,) = (folder / "runs").rglob("checkpoints")
    return found


def steps(folder: Path) -> dict[str, int]:
    return {path.stem: load(path)["global_step"] for path in folder.glob("*.ckpt")}


def load(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)


@pytest.mark.parametrize(
    ("options", "last", "best"),
    [
        (("--trainer.max_steps", "2"), 2, None),
        (("--trainer.max_steps", "4"), 4, 3),
        (("--trainer.check_val_every_n_epoch", "2"), 9, 6),
        (("--trainer.limit_val_batches", "0"), 9, None),
    ],
)
def test_the_last_checkpoint_is_of_the_last_step(
    tmp_path: Path, options: tuple[str, ...], last: int, best: int | None
) -> None:
    found = steps(train(tmp_path, *options, epochs=3))
    assert found == {"last": last} | ({"best": best} if best else {})


def test_validations_inside_an_epoch_are_saved_too(tmp_path: Path) -> None:
    folder = train(tmp_path, "--trainer.val_check_interval", "1", epochs=1)
    sums = pd.read_csv(folder.parent / "metrics.csv").dropna(subset=["val/SumR"])
    best = sums.loc[sums["val/SumR"].idxmax(), "step"]
    assert steps(folder) == {"last": 3, "best": best + 1}


def test_the_best_score_is_kept_where_the_folder_was_moved(tmp_path: Path) -> None:
    state = RunCheckpoint("best", "val/SumR").state_dict() | {
        "dirpath": "elsewhere", "best_model_path": "elsewhere/best.ckpt",
        "best_model_score": torch.tensor(7.0), "kth_value": torch.tensor(7.0),
        "kth_best_model_path": "elsewhere/best.ckpt",
        "best_k_models": {"elsewhere/best.ckpt": torch.tensor(7.0)},
    }  # fmt: skip
    callback = RunCheckpoint("best", "val/SumR")
    callback.dirpath = str(tmp_path)
    best = tmp_path / "best.ckpt"
    best.write_text("")
    callback.load_state_dict(state)
    assert callback.best_k_models == {str(best): torch.tensor(7.0)}
    assert callback.kth_best_model_path == callback.best_model_path == str(best)


# How they are written


SMALL, LARGE = {"x": torch.ones(3)}, {"x": torch.ones(1 << 16)}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_written_checkpoint_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.ckpt"
    for content in (LARGE, SMALL):
        AtomicCheckpointIO().save_checkpoint(content, str(path))  # Lightning gives strings
        found = AtomicCheckpointIO().load_checkpoint(path, weights_only=True)
        assert torch.equal(found["x"], content["x"])
        assert names(path.parent) == ["a.ckpt"]


def test_a_full_disk_keeps_the_earlier_file(tmp_path: Path) -> None:
    last = tmp_path / "last.ckpt"
    writer = AtomicCheckpointIO()
    with full_disk(), pytest.raises(UserError) as caught:
        writer.save_checkpoint(LARGE, last)
    line = f"cannot write {last}: File too large; make room there, then "
    assert str(caught.value) == line + "start again"
    assert names(tmp_path) == []

    writer.save_checkpoint(SMALL, last)
    for name in ("best.ckpt", "last.ckpt"):
        with full_disk(), pytest.raises(UserError) as caught:
            writer.save_checkpoint(LARGE, tmp_path / name)
        assert str(caught.value).startswith(f"cannot write {tmp_path / name}: ")
        assert str(caught.value).endswith(f"then resume with --ckpt_path {last}")
    assert names(tmp_path) == ["last.ckpt"]
    assert torch.equal(writer.load_checkpoint(last, weights_only=True)["x"], SMALL["x"])


def test_nothing_is_written_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's temporary folder may be small, and on another disk."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))
    monkeypatch.setattr("tempfile.tempdir", None)
    AtomicCheckpointIO().save_checkpoint(SMALL, tmp_path / "a.ckpt")
    assert names(tmp_path) == ["a.ckpt"]


def test_lightning_takes_it_as_a_plugin(tmp_path: Path) -> None:
    write_tiny(Tiny, tmp_path / "data")
    data = Tiny(tmp_path / "data", batch_size=3, num_workers=0, max_frames=8, num_clips=4)
    runner = trainer(plugins=[AtomicCheckpointIO()], max_epochs=1)
    runner.fit(module(), data)
    with full_disk(100), pytest.raises(UserError, match=r"cannot write \S*a\.ckpt: File too large"):
        runner.save_checkpoint(tmp_path / "a.ckpt")
    runner.save_checkpoint(tmp_path / "a.ckpt")
    again = trainer(max_epochs=2)
    again.fit(module(seed=1), data, ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    assert again.current_epoch == 2


@pytest.mark.parametrize("name", ["best.ckpt", "last.ckpt"])
def test_a_training_that_fills_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """It ends in one line after its first epoch, and can be resumed there."""
    write, first = Path.write_bytes, {"best.ckpt", "last.ckpt"}

    def full(path: Path, data: Any) -> int:
        written = next(known for known in ("best.ckpt", "last.ckpt") if known in path.name)
        if written == name and written not in first:
            write(path, bytes(data)[:100])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        first.discard(written)
        return write(path, data)

    # each epoch is better than the one before
    sums = iter(range(100))
    monkeypatch.setattr(
        "dreamprvr.evaluation.metrics.recalls",
        lambda _: dict.fromkeys(("R@1", "R@5", "R@10", "R@100", "SumR"), float(next(sums))),
    )
    config = write_config(tmp_path, epochs=2)
    folder = Path("runs/version_0/checkpoints")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        line = refused("fit", "--config", config)
    assert line == (
        f"cannot write {folder / name}: No space left on device; make room there, then resume with "
        f"--ckpt_path {folder / 'last.ckpt'}"
    )
    assert names(folder) == ["best.ckpt", "last.ckpt"]
    assert torch.load(folder / "last.ckpt", weights_only=True)["epoch"] == 0
    assert run("fit", "--config", config, "--ckpt_path", folder / "last.ckpt").code == 0
    assert torch.load(folder / "last.ckpt", weights_only=True)["epoch"] == 1


# Jobs of SLURM that are requeued: `scontrol` only notes what it is asked


USR1 = signal.SIGUSR1
JOB = {
    "SLURM_JOB_ID": "77", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "1", "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_NTASKS_PER_NODE": "1",
}  # fmt: skip


@pytest.fixture
def scontrol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install a program `scontrol` that writes its arguments to the returned file."""
    program = tmp_path / "bin" / "scontrol"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    return tmp_path / "asked"


def test_a_job_saves_is_requeued_and_continues_identically(
    tmp_path: Path, scontrol: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ("--config", write_config(tmp_path), "--config", "slurm.yaml")
    runs, whole = tmp_path / "runs", tmp_path / "whole"
    assert run("fit", *config, "--trainer.default_root_dir", whole).code == 0
    for name, value in JOB.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(stopping, "SIGNALS", (*stopping.SIGNALS, USR1))  # as in a job
    send = with_callback("SendSignal", number=int(USR1), moment="on_train_batch_end", count=4)
    stopped = run("fit", *config, *send, "--trainer.default_root_dir", runs)
    assert stopped.code == 128 + USR1, stopped
    assert "job 77 is requeued\nstopped by SIGUSR1: resume with --ckpt_path" in stopped.err
    assert scontrol.read_text() == "requeue 77\n"

    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    done = run("fit", *config, "--trainer.default_root_dir", runs)
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


def test_only_a_requeued_job_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
