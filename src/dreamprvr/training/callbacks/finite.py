"""Stop a training whose loss or weights are not finite, before they reach a checkpoint."""

from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from data_modules.base import PRVRDataModule
from dreamprvr.core.batch import TrainBatch
from dreamprvr.core.errors import UserError
from dreamprvr.core.text import shorten

CHECK_EVERY = 50  # steps on an accelerator; every check makes the host wait for the device
NAMED = 2000  # largest number of characters of video ids in the message


class Finite(Callback):
    """Ends the training with a line that names the step and the videos of its batch.

    The CPU checks after every step. An accelerator notes the result of every step, and the host
    reads these notes every 50 steps and before every checkpoint. A gradient that is not finite
    makes the weights not finite, except with 16-mixed precision, which leaves such a step out by
    design.
    """

    def __init__(self) -> None:
        # step, rows of its videos, and two flags: loss and weights are finite
        self._recent: list[tuple[int, Tensor, Tensor]] = []

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: TrainBatch,
        batch_idx: int,
    ) -> None:
        """Note whether the step's loss and the weights after it are finite."""
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        if not isinstance(loss, Tensor) or not isinstance(batch, TrainBatch):
            return
        weights = [weight.detach() for weight in pl_module.parameters()]
        norm = torch.stack(torch._foreach_norm(weights)).sum()
        finite = torch.stack([loss.detach(), norm.to(loss.dtype)]).isfinite()
        # a copy of the rows, because loaders may use the memory of a batch again
        self._recent.append((trainer.global_step, batch.videos.row.clone(), finite))
        if finite.device.type == "cpu" or len(self._recent) >= CHECK_EVERY:
            self._look(trainer)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Raise before a checkpoint is written if the loss or the weights are not finite."""
        self._look(trainer)

    def _look(self, trainer: Trainer) -> None:
        recent, self._recent = self._recent, []
        if not recent:
            return
        flags = torch.stack([finite for _, _, finite in recent]).tolist()
        for (step, rows, _), (loss, weights) in zip(recent, flags, strict=True):
            if not (loss and weights):
                subject = "weights are" if loss else "loss is"
                raise UserError(
                    f"the {subject} not finite any more after step {step}; {_videos(trainer, rows)}"
                    f"{_last_good(trainer)}"
                )


def _videos(trainer: Trainer, rows: Tensor) -> str:
    data = trainer.datamodule  # type: ignore[attr-defined]
    if not isinstance(data, PRVRDataModule):
        return "look at the features of its batch, or lower training.optimizer.lr"
    ids = data.annotations("train").videos["video_id"].iloc[rows.tolist()]
    return (
        "look at the features of its videos, or lower training.optimizer.lr: "
        f"{shorten(', '.join(ids), NAMED)}"
    )


def _last_good(trainer: Trainer) -> str:
    for callback in trainer.checkpoint_callbacks:
        path = Path(getattr(callback, "dirpath", None) or "", "last.ckpt")
        if path.is_file():
            return f"; the last good checkpoint is {path}"
    return ""
