from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from cli.outcomes import CONFIG
from cli.running import refused, write_config
from lightning import Callback, LightningModule, Trainer

from dreamprvr.core.batch import Queries, TrainBatch, Videos
from dreamprvr.core.errors import UserError
from dreamprvr.training.callbacks import finite
from dreamprvr.training.callbacks.finite import Finite


class Spoils(Callback):
    """The second batch of the second epoch holds a number that is none."""

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: TrainBatch, batch_idx: int
    ) -> None:
        if trainer.global_step == 4:
            batch.videos.frames[0, 0, 0] = torch.nan
            Path("rows.txt").write_text(" ".join(map(str, batch.videos.row.tolist())))


def test_a_batch_that_spoils_the_loss(tmp_path: Path) -> None:
    write_config(tmp_path)
    line = refused("fit", *CONFIG, "--trainer.callbacks", "training.callbacks.test_finite.Spoils")
    assert line.startswith("the loss is not finite any more after step 5; ")
    rows = Path("rows.txt").read_text().split()
    ids = [f"train-{row}" for row in rows]
    assert len(ids) == 3
    last = Path("runs/version_0/checkpoints/last.ckpt")
    for name in (*ids, f"the last good checkpoint is {last}"):
        assert name in line
    saved = torch.load(last, weights_only=True)
    assert saved["global_step"] == 3
    assert all(weight.isfinite().all() for weight in saved["state_dict"].values())


def test_a_rate_that_spoils_the_weights(tmp_path: Path) -> None:
    write_config(tmp_path)
    rate = ("--training.optimizer", "BertAdam", "--training.optimizer.lr", "1e38")
    line = refused("fit", *CONFIG, *rate)
    assert line.startswith("the weights are not finite any more after step 2; ")
    assert not list(Path("runs").rglob("*.ckpt"))


class _Weights(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(3))


def step(callback: Finite, number: int, loss: float) -> None:
    empty = torch.zeros(0)
    videos = Videos(torch.tensor([number]), empty, empty, empty)
    batch = TrainBatch(videos, Queries(empty, empty, empty, empty), empty)
    trainer: Any = SimpleNamespace(global_step=number, datamodule=None, checkpoint_callbacks=[])
    callback.on_train_batch_end(trainer, _Weights(), {"loss": torch.tensor(loss)}, batch, 0)


def test_on_an_accelerator_the_host_asks_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the number of questions differs; the first bad step is named."""
    callback = Finite()
    asked: list[int] = []
    look = callback._look
    monkeypatch.setattr(callback, "_look", lambda trainer: asked.append(1) or look(trainer))
    # as the CPU is asked every step, its flags are given as those of another device
    stack = torch.stack

    class Flags:
        device = SimpleNamespace(type="cuda")

        def __init__(self, flags: torch.Tensor) -> None:
            self.flags = flags

    def stacked(parts: Any) -> Any:
        if isinstance(parts[0], Flags):
            return stack([part.flags for part in parts])
        made = stack(parts)
        return SimpleNamespace(sum=made.sum, isfinite=lambda: Flags(made.isfinite()))

    monkeypatch.setattr(finite.torch, "stack", stacked)
    for number in range(1, 50):
        step(callback, number, float("nan") if number in (17, 30) else 1.0)
    assert not asked
    with pytest.raises(UserError, match="the loss is not finite any more after step 17;"):
        step(callback, 50, 1.0)
    assert asked == [1]
