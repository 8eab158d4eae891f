"""Makes resuming bit-identical: Lightning's checkpoints hold no random state."""

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from dreamprvr.distributed import gather_objects

KEY = "random_state"


class RandomState(Callback):
    """Saves every rank's torch generators, and restores them when a checkpoint is resumed.

    Restored as the checkpoint is loaded: at the start of an epoch the loaders have drawn already.
    """

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the generators of all ranks."""
        state: dict[str, Tensor] = {"cpu": torch.get_rng_state()}
        if pl_module.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(pl_module.device)
        checkpoint[KEY] = gather_objects(state)

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Restore this rank's; a run with more ranks than were saved seeds the rest anew."""
        states = checkpoint.get(KEY, [])
        if trainer.state.fn != "fit" or trainer.global_rank >= len(states):
            return
        state = states[trainer.global_rank]
        torch.set_rng_state(state["cpu"].cpu())
        if "cuda" in state and pl_module.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda"].cpu(), pl_module.device)
