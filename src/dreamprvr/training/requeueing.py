"""Jobs of SLURM that are requeued: how they find where their training stood."""

import os
import re
import subprocess
import sys
from pathlib import Path

from lightning import Trainer
from lightning.pytorch.plugins.environments import SLURMEnvironment

from dreamprvr.core.files import write_text


def job() -> str | None:
    """Number of the job of SLURM that this process belongs to, as `scontrol` takes it."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    number = f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", "")
    return number if re.fullmatch(r"\d+(_\d+)?", number) else None


def noted_checkpoint(folder: Path) -> str | None:
    """The last checkpoint of this job's training, if the job was requeued and has saved one.

    Args:
        folder: of the runs, or of folders of runs.
    """
    number = job()
    if number is None or os.environ.get("SLURM_RESTART_COUNT", "0") == "0":
        return None
    for note in [folder / _name(number), *folder.glob(f"*/{_name(number)}")]:
        if note.is_file():
            path = note.read_text(encoding="utf-8").strip()
            return path if Path(path).is_file() else None
    return None


def note_checkpoint(trainer: Trainer, path: Path) -> None:
    """Write down where this job's training saves; only a job that may be requeued does.

    Args:
        trainer: of the training.
        path: its last checkpoint.
    """
    number = job()
    if number is not None and requeues(trainer) and trainer.is_global_zero:
        write_text(Path(trainer.default_root_dir) / _name(number), f"{path.absolute()}\n")


def requeues(trainer: Trainer) -> bool:
    """Whether this is a job of SLURM that is to be requeued when its time is over."""
    environment = trainer._accelerator_connector.cluster_environment
    return (
        job() is not None and isinstance(environment, SLURMEnvironment) and environment.auto_requeue
    )


def requeue() -> None:
    """Put this job into SLURM's queue again, which ends it here."""
    command = ["scontrol", "requeue", str(job())]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        said = "" if done.returncode == 0 else done.stderr.strip()
    except OSError as error:
        said = f"scontrol: {error.strerror}"
    print(f"not requeued: {said}" if said else f"job {job()} is requeued", file=sys.stderr)


def _name(number: str) -> str:
    return f"slurm-{number}.txt"
