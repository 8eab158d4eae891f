"""Save the checkpoints of a run, write them to disk, and find them again in a requeued job.

Every run keeps `best.ckpt` and `last.ckpt`. A requeued job of SLURM resumes `last.ckpt`.
"""

import io
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning import LightningModule, Trainer
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.environments import SLURMEnvironment

from dreamprvr.core.distributed import largest_of_ranks
from dreamprvr.core.errors import UserError
from dreamprvr.core.files import atomic_path, write_text
from dreamprvr.core.stopping import Stopped, await_signals, received_signal
from dreamprvr.core.torch_file import read_torch_file


class RunCheckpoint(ModelCheckpoint):
    """Keeps one checkpoint of a run under a fixed name.

    It is a class of its own, because Lightning names a saved state after the class: so its state
    cannot be confused with that of a user's `ModelCheckpoint` with the same settings.

    Args:
        name: name of the file, without its ending.
        monitor: name of a logged value. The file is then of the epoch with the highest value.
    """

    def __init__(self, name: str, monitor: str | None = None) -> None:
        super().__init__(filename=name, monitor=monitor, mode="max", enable_version_counter=False)
        self._validated = False

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state, also if the run's folder was moved or renamed.

        Args:
            state_dict: state in the checkpoint that is resumed.
        """
        folder = os.fspath(self.dirpath or "")
        here = os.path.join(folder, os.path.basename(state_dict["best_model_path"]))
        if os.path.isfile(here):
            kept = dict.fromkeys([here], state_dict["best_model_score"]) if self.monitor else {}
            state_dict = state_dict | {
                "dirpath": self.dirpath, "best_model_path": here, "best_k_models": kept,
                "kth_best_model_path": here if kept else "",
            }  # fmt: skip
        super().load_state_dict(state_dict)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save after a validation inside an epoch.

        After a validation at the end of an epoch, `on_train_epoch_end` saves, so that the
        checkpoint holds the whole epoch.
        """
        if self._should_skip_saving_checkpoint(trainer):
            return
        self._validated = True
        if not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            self.save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the last state, and the best if this epoch was validated."""
        if self.monitor is None or self._validated:
            self.save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the last state, also if the training ended inside an epoch."""
        if self.monitor is None:
            self.save(trainer)

    def save(self, trainer: Trainer) -> None:
        """Write the file, unless it already holds this step or a better epoch.

        Args:
            trainer: the trainer; every rank must call this.
        """
        has_value = self.monitor is None or self.monitor in trainer.callback_metrics
        if has_value and not self._should_skip_saving_checkpoint(trainer):
            self._validated = False
            self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))


class LastCheckpoint(RunCheckpoint):
    """Keeps `last.ckpt`, from which a training is resumed as if it had not been interrupted.

    When one of the processes receives a signal, all of them finish the step, save together and
    raise `Stopped`. An interrupted validation begins again when the training is resumed.
    """

    def __init__(self) -> None:
        super().__init__("last")

    @property
    def path(self) -> Path:
        """Return the path of the checkpoint, which is known once the trainer has started."""
        return Path(self.dirpath or ".") / f"{self.filename}{self.FILE_EXTENSION}"

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look for a signal after each step from now on."""
        super().on_train_start(trainer, pl_module)
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]
            note_checkpoint(trainer, self.path)
        await_signals(True)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Stop after a signal if this batch ended a step, which may take several batches."""
        if not trainer.fit_loop._should_accumulate():
            self._stop_after_signal(trainer, after_step=True)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Stop after a signal."""
        if not trainer.sanity_checking:
            self._stop_after_signal(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop after a signal that came at the end of the epoch before."""
        self._stop_after_signal(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the last state; from now on, a signal ends the process at once."""
        super().on_train_end(trainer, pl_module)
        await_signals(False)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Advise the user how to resume, without the other processes: they may not come here."""
        await_signals(False)
        if isinstance(exception, Stopped) and not exception.advice:
            path = self.path if self.dirpath and self.path.exists() else trainer.ckpt_path
            exception.advice = (
                f"resume with --ckpt_path {shlex.quote(str(path))}"
                if path
                else "no step was finished and nothing was saved: run the same command again"
            )
            is_end_of_time = exception.number == getattr(signal, "SIGUSR1", None)
            if is_end_of_time and trainer.is_global_zero and requeues(trainer):
                requeue()

    def _stop_after_signal(self, trainer: Trainer, after_step: bool = False) -> None:
        number = largest_of_ranks(received_signal(), trainer.strategy.root_device)
        if not number:
            return
        if after_step:  # the trainer logs this step only after this hook
            trainer._logger_connector.update_train_step_metrics()
        if not self._should_skip_saving_checkpoint(trainer):
            self._save_checkpoint(trainer, str(self.path))
        raise Stopped(number, agreed=True)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint to a temporary file beside its place, and then renames this file.

    Lightning writes to the system's temporary folder. If this lies on another disk, Lightning
    copies the file over the earlier checkpoint, and a full disk then leaves no checkpoint at all.
    It also gives no message where writing is not permitted.

    Args:
        weights_alone: read the weights and the settings, but not the state of the training, which
            an evaluation does not need and which the model file of a library lacks.
    """

    def __init__(self, weights_alone: bool = False) -> None:
        super().__init__()
        self.weights_alone = weights_alone

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write a checkpoint.

        Raises:
            UserError: the disk is full or writing is not permitted; an earlier file is kept.
        """
        path = Path(path)
        content = io.BytesIO()  # torch's own file writer reports a full disk as a RuntimeError
        torch.save(checkpoint, content)
        try:
            with atomic_path(path) as partial:
                partial.write_bytes(content.getvalue())  # an error would keep a view of the bytes
        except UserError as error:
            last = path.with_name("last.ckpt")
            advice = f"resume with --ckpt_path {last}" if last.exists() else "start again"
            raise UserError(f"{error}, then {advice}") from None

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint as data; `map_location` and `weights_only` have no effect.

        Raises:
            UserError: the file cannot be read, is damaged, or holds other objects than tensors and
                Python's basic types.
        """
        content: dict[str, Any] = read_torch_file(Path(path), mapped=False)
        if not self.weights_alone:
            return content
        kept = {name: content[name] for name in ("state_dict", "hyper_parameters")}
        for name in ("epoch", "global_step"):
            kept[name] = content[name] if isinstance(content.get(name), int) else 0
        return {**kept, "callbacks": {}, "pytorch-lightning_version": lightning.__version__}


# SLURM


def job() -> str | None:
    """Return the number of this SLURM job in the form of `scontrol`; None outside a job."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    number = f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", "")
    return number if re.fullmatch(r"\d+(_\d+)?", number) else None


def noted_checkpoint(folder: Path) -> str | None:
    """Find the last checkpoint of this job's training.

    Args:
        folder: folder of the runs, or of folders of runs.

    Returns:
        Its path; None if the job was not requeued, or has saved nothing.
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
    """Write down the path of this job's last checkpoint, if the job may be requeued.

    Args:
        trainer: the trainer of this job.
        path: path of the last checkpoint.
    """
    number = job()
    if number is not None and requeues(trainer) and trainer.is_global_zero:
        write_text(Path(trainer.default_root_dir) / _name(number), f"{path.absolute()}\n")


def requeues(trainer: Trainer) -> bool:
    """Return whether this is a SLURM job that is requeued at the end of its time."""
    environment = trainer._accelerator_connector.cluster_environment
    return (
        job() is not None and isinstance(environment, SLURMEnvironment) and environment.auto_requeue
    )


def requeue() -> None:
    """Put this job into SLURM's queue again, which ends it here."""
    command = ["scontrol", "requeue", str(job())]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        failure = "" if done.returncode == 0 else done.stderr.strip()
    except OSError as error:
        failure = f"scontrol: {error.strerror}"
    print(f"not requeued: {failure}" if failure else f"job {job()} is requeued", file=sys.stderr)


def _name(number: str) -> str:
    return f"slurm-{number}.txt"
