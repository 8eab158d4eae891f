"""Save the state that Lightning's checkpoints lack, so that a resumed training is identical."""

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from dreamprvr.core.distributed import gather_objects

KEY = "random_state"


class Resuming(Callback):
    """Saves each process's random generators and unfinished gradients, and restores them.

    The generators are restored as soon as the checkpoint is loaded. The order of the training
    videos depends on no generator; its loader saves the place in the epoch
    (`data_modules.loading.loaders`).
    """

    def __init__(self) -> None:
        self._gradients: dict[str, Tensor] = {}
        self._order: list[dict[str, int]] = []

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the generators of all processes, and the trainer's decision to stop early."""
        state: dict[str, Any] = {"cpu": torch.get_rng_state()}
        if pl_module.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(pl_module.device)
        if trainer.fit_loop._should_accumulate():  # each process has gradients of its own
            gradients = {name: p.grad for name, p in pl_module.named_parameters()}
            state["gradients"] = {
                k: grad.cpu() for k, grad in gradients.items() if grad is not None
            }
        checkpoint[KEY] = gather_objects(state)
        checkpoint["should_stop"] = trainer.should_stop
        _correct_counters(trainer, checkpoint["loops"]["fit_loop"])

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Restore the generators of this process; a process without a saved state keeps its own."""
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
        """Go to the saved place in the epoch, and restore the gradients of an unfinished step."""
        # Lightning restores a loader only if it reads the checkpoint before it makes the loader
        for loader, state in zip(_loaders(trainer), self._order, strict=False):
            loader.load_state_dict(state)
        for name, parameter in pl_module.named_parameters():
            if name in self._gradients:
                parameter.grad = self._gradients[name].to(parameter.device)
        self._gradients, self._order = {}, []
        validation = trainer.fit_loop.epoch_loop.val_loop
        if validation.restarted_mid_evaluation:  # it begins again, so its first batch counts anew
            total: Any = validation.batch_progress.total
            total.ready, total.started = total.completed, total.completed
        _begin_epoch(trainer)


def _loaders(trainer: Trainer) -> list[Any]:
    """List the loaders of training batches that have a state."""
    combined = trainer.fit_loop._combined_loader
    loaders = combined.flattened if combined is not None else []
    return [loader for loader in loaders if hasattr(loader, "load_state_dict")]


def _begin_epoch(trainer: Trainer) -> None:
    """Begin the next epoch if none is unfinished, which Lightning leaves out with `max_steps`."""
    loop = trainer.fit_loop
    counts: Any = loop.epoch_progress.current
    if counts.ready == counts.started == counts.processed:
        if counts.completed < counts.processed:
            loop.epoch_progress.increment_completed()
        loop._restarting = loop.epoch_loop.restarting = False
        loop.reset_restart_stage()


def _correct_counters(trainer: Trainer, loop: dict[str, Any]) -> None:
    """Change the saved counters so that a resumed training continues with the right action.

    Without this, Lightning would leave out a validation that had not begun or not ended, and the
    end of an epoch whose last batch was trained before the checkpoint was saved.

    Args:
        trainer: the trainer that saves.
        loop: saved state of the trainer's training loop; changed in place.
    """
    for counts in loop["epoch_progress"].values():  # an epoch without a step begins again
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
    else:  # Lightning counts a step only after its decision whether to validate
        loop["epoch_loop.state_dict"]["_batches_that_stepped"] += 1
