"""The two checkpoints of every run: `best.ckpt` and `last.ckpt`."""

import os
import shlex
import signal
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from dreamprvr.core.distributed import largest_of_ranks
from dreamprvr.core.stopping import Stopped, await_signals, received_signal
from dreamprvr.training.requeueing import note_checkpoint, requeue, requeues


class RunCheckpoint(ModelCheckpoint):
    """Keeps one checkpoint of a run under a fixed name.

    It is a class of its own, so that its saved state is not mistaken for that of a
    `ModelCheckpoint` that the user adds with the same settings.

    Args:
        name: of the file, without its ending.
        monitor: name of a logged value; the file is then of the epoch where that was highest.
    """

    def __init__(self, name: str, monitor: str | None = None) -> None:
        super().__init__(filename=name, monitor=monitor, mode="max", enable_version_counter=False)
        self._validated = False

    @property
    def _legacy_state_key(self) -> Any:
        """The key of this state in checkpoints of earlier versions, which used the plain class."""
        mode = "min" if self.monitor is None else self.mode
        return ModelCheckpoint(monitor=self.monitor, mode=mode).state_key

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state; a run's folder that was moved, or is named differently, is the same.

        Args:
            state_dict: of the checkpoint that is resumed.
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
        """Save after a validation inside an epoch; after one at its end, the epoch is waited for.

        A checkpoint of a whole epoch is the better one to go on from.
        """
        if self._should_skip_saving_checkpoint(trainer):
            return
        self._validated = True
        if not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            self.save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the last state; the best, if this epoch was validated."""
        if self.monitor is None or self._validated:
            self.save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the last state, wherever the training ended."""
        if self.monitor is None:
            self.save(trainer)

    def save(self, trainer: Trainer) -> None:
        """Write the file, unless it is of this step already, or a better one is kept.

        Args:
            trainer: that trains; every rank must call this.
        """
        known = self.monitor is None or self.monitor in trainer.callback_metrics
        if known and not self._should_skip_saving_checkpoint(trainer):
            self._validated = False
            self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))


class LastCheckpoint(RunCheckpoint):
    """Keeps `last.ckpt`, from which a training goes on as if it had not been interrupted.

    When one of the processes receives a signal, all of them finish the step, save together and
    raise `Stopped`. A validation that is cut short begins again when the training is resumed.
    """

    def __init__(self) -> None:
        super().__init__("last")

    @property
    def path(self) -> Path:
        """The checkpoint; the trainer has told the folder."""
        return Path(self.dirpath or ".") / f"{self.filename}{self.FILE_EXTENSION}"

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From now on, a signal is looked for after each step."""
        super().on_train_start(trainer, pl_module)
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]
            note_checkpoint(trainer, self.path)
        await_signals(True)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Stop if told so and a step is finished: it may take several batches."""
        if not trainer.fit_loop._should_accumulate():
            self._stop_if_told(trainer, after_step=True)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Stop if told so."""
        if not trainer.sanity_checking:
            self._stop_if_told(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop if told so while the epoch before ended."""
        self._stop_if_told(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save, wherever the training ended; from now on, a signal ends the process at once."""
        super().on_train_end(trainer, pl_module)
        await_signals(False)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Say how to go on. One process alone may come here, so it asks no other."""
        await_signals(False)
        if isinstance(exception, Stopped) and not exception.advice:
            path = self.path if self.dirpath and self.path.exists() else trainer.ckpt_path
            exception.advice = (
                f"resume with --ckpt_path {shlex.quote(str(path))}"
                if path
                else "no step was finished, nothing was saved: start it again as before"
            )
            told = exception.number == getattr(signal, "SIGUSR1", None)
            if told and trainer.is_global_zero and requeues(trainer):
                requeue()

    def _stop_if_told(self, trainer: Trainer, after_step: bool = False) -> None:
        number = largest_of_ranks(received_signal(), trainer.strategy.root_device)
        if not number:
            return
        if after_step:  # the trainer would log this step only after this hook
            trainer._logger_connector.update_train_step_metrics()
        if not self._should_skip_saving_checkpoint(trainer):
            self._save_checkpoint(trainer, str(self.path))
        raise Stopped(number, agreed=True)
