"""The two checkpoints of every run: `best.ckpt` and `last.ckpt`."""

import os
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint


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
