"""A tiny module and trainer without the command line, and a record of what its training did."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer, seed_everything

from dreamprvr.models.dreamprvr import DreamPRVR, DreamPRVRConfig, ObjectiveConfig
from dreamprvr.training.module import PRVRModule

QUIET = [
    # what the command line silences too, for the same reasons
    pytest.mark.filterwarnings(f"ignore:{message}")
    for message in (".*does not have many workers", ".*LeafSpec", "predict returned None")
]
NETWORK = DreamPRVRConfig(
    hidden_size=8, num_heads=2, max_frames=8, num_clips=4, diffusion_steps=2,
    gaussian_widths=(1.0,),
)  # fmt: skip


def module(
    seed: int = 0,
    sizes: tuple[int, int] = (6, 5),
    network: dict[str, Any] | None = None,
    objective: ObjectiveConfig = ObjectiveConfig(),  # noqa: B008 - frozen
    **options: Any,
) -> PRVRModule:
    seed_everything(seed, verbose=False)
    model = DreamPRVR(*sizes, replace(NETWORK, **network or {}), objective)
    return PRVRModule(model, **options)


def trainer(*callbacks: Callback, **options: Any) -> Trainer:
    defaults: dict[str, Any] = {
        "accelerator": "cpu", "max_epochs": 2, "num_sanity_val_steps": 0, "logger": False,
        "enable_progress_bar": False, "enable_model_summary": False, "callbacks": [*callbacks],
        "enable_checkpointing": False, "log_every_n_steps": 1,
    }  # fmt: skip
    return Trainer(**defaults | options)


class Recorder(Callback):
    """Records the logged values of each training step, and the expected ones computed before it."""

    def __init__(self) -> None:
        self.expected: list[dict[str, float]] = []
        self.logged: list[dict[str, float]] = []
        self.rates: list[float] = []
        self.hard: list[bool] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, PRVRModule)
        pl_module.network.objective.register_forward_pre_hook(
            lambda _, args: self.hard.append(args[1])
        )

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, PRVRModule)
        assert isinstance(pl_module.network, DreamPRVR)
        hard = trainer.current_epoch >= pl_module.network.objective_config.hard_negatives_from
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            # `forward` without the hook above
            terms = pl_module.network.objective.forward(pl_module.network.encode_batch(batch), hard)
        self.expected.append({name: term.item() for name, term in terms.items()})
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self.logged.append({name: float(v) for name, v in trainer.callback_metrics.items()})
