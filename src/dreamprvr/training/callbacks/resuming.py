"""Saving of state that Lightning's checkpoints lack, so that a resumed training is identical."""

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from dreamprvr.core.distributed import gather_objects

KEY = "random_state"


class Resuming(Callback):
    """Saves each process's random generators and unfinished gradients, and restores them.

    The generators are restored as soon as the checkpoint is loaded. The order of the training
    videos needs none of them (`data_modules.loading.loaders`), but the place in it.
    """

    def __init__(self) -> None:
        self._gradients: dict[str, Tensor] = {}
        self._order: list[dict[str, int]] = []

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the generators of all processes, and whether the training is to stop early."""
        state: dict[str, Any] = {"cpu": torch.get_rng_state()}
        if pl_module.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(pl_module.device)
        if trainer.fit_loop._should_accumulate():  # each process has gradients of its own
            found = ((name, p.grad) for name, p in pl_module.named_parameters())
            state["gradients"] = {name: grad.cpu() for name, grad in found if grad is not None}
        checkpoint[KEY] = gather_objects(state)
        checkpoint["should_stop"] = trainer.should_stop
        _say_what_is_left(trainer, checkpoint["loops"]["fit_loop"])

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Restore the generators of this process; a process that was not saved keeps its own."""
        if trainer.state.fn != "fit":
            return
        trainer.should_stop = bool(checkpoint.get("should_stop", False))
        self._order = checkpoint["loops"]["fit_loop"]["state_dict"].get("combined_loader", [])
        states = checkpoint.get(KEY, [])
        if trainer.global_rank >= len(states):
            return
        state = states[trainer.global_rank]
        torch.set_rng_state(state["cpu"].cpu())
        if "cuda" in state and pl_module.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda"].cpu(), pl_module.device)
        self._gradients = state.get("gradients", {})

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go to the place in the epoch; put back gradients that a step was still to be made of."""
        # Lightning does so only if the loader was not made before it read the checkpoint
        for loader, state in zip(_loaders(trainer), self._order, strict=False):
            loader.load_state_dict(state)
        for name, parameter in pl_module.named_parameters():
            if name in self._gradients:
                parameter.grad = self._gradients[name].to(parameter.device)
        self._gradients, self._order = {}, []
        validation = trainer.fit_loop.epoch_loop.val_loop
        if validation.restarted_mid_evaluation:  # it begins again, and counts its first batch again
            total: Any = validation.batch_progress.total
            total.ready, total.started = total.completed, total.completed
        _begin_epoch(trainer)


def _loaders(trainer: Trainer) -> list[Any]:
    """List the loaders of training batches that keep a state."""
    combined = trainer.fit_loop._combined_loader
    loaders = combined.flattened if combined is not None else []
    return [loader for loader in loaders if hasattr(loader, "load_state_dict")]


def _begin_epoch(trainer: Trainer) -> None:
    """Begin the next epoch if none is unfinished; under `max_steps` Lightning would not."""
    loop = trainer.fit_loop
    counts: Any = loop.epoch_progress.current
    if counts.ready == counts.started == counts.processed:
        if counts.completed < counts.processed:
            loop.epoch_progress.increment_completed()
        loop._restarting = loop.epoch_loop.restarting = False
        loop.reset_restart_stage()


def _say_what_is_left(trainer: Trainer, loop: dict[str, Any]) -> None:
    """Change the counters of a saved training so that Lightning does next what was to be next.

    It would leave out a validation that had not begun or ended, and the end of an epoch, if it was
    saved after the epoch's last batch.

    Args:
        trainer: the trainer that saves.
        loop: the saved state of the trainer's training loop.
    """
    for counts in loop["epoch_progress"].values():  # an epoch that is only begun begins again
        counts["ready"] = counts["started"]
    batches, validated = (
        loop["epoch_loop.batch_progress"],
        loop["epoch_loop.val_loop.batch_progress"],
    )
    after_batch = batches["current"]["completed"] < batches["current"]["processed"]
    validating = validated["current"]["completed"] < validated["current"]["ready"]
    fetcher: Any = trainer.fit_loop._data_fetcher
    due = validating or (after_batch and trainer.fit_loop.epoch_loop._should_check_val_fx(fetcher))
    if not due and not (after_batch and batches["is_last_batch"]):
        return
    for counts in (batches["total"], batches["current"]):
        counts["completed"] = counts["processed"]
    if due:  # begin it again
        before = validated["total"]["completed"]
        before -= validated["current"]["completed"] if validating else 0
        for name, done in (("total", before), ("current", 0)):
            validated[name].update(ready=done + 1, started=done + 1, processed=done, completed=done)
        validated["is_last_batch"] = False
    else:  # Lightning counts a step once it has looked whether to validate
        loop["epoch_loop.state_dict"]["_batches_that_stepped"] += 1
