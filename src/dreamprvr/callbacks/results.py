"""Prints the results table and writes metrics.json."""

import json
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only

from dreamprvr.table import COLUMNS, results_table


def run_folder(trainer: Trainer) -> Path:
    """Where results belong: the run that the checkpoint came from, else the trainer's folder.

    A run keeps its checkpoints in `<run>/checkpoints/`.
    """
    checkpoint = Path(trainer.ckpt_path) if trainer.ckpt_path else None
    if checkpoint is not None and checkpoint.parent.name == "checkpoints":
        return checkpoint.parent.parent
    return Path(trainer.log_dir or trainer.default_root_dir)


class Results(Callback):
    """A table of R@1, R@5, R@10, R@100 and SumR at the end of every command.

    After training it shows the best epoch; validation and test also write `metrics.json`.
    """

    def __init__(self) -> None:
        self.best: dict[str, float] = {}
        self.best_epoch = -1

    def state_dict(self) -> dict[str, Any]:
        """The best epoch so far, for resumed runs."""
        return {"best": self.best, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the best epoch of the run that is resumed."""
        self.best, self.best_epoch = state_dict["best"], state_dict["best_epoch"]

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """In training remember the best epoch; of `validate` report."""
        found = _recalls(trainer, "val")
        if not found or trainer.sanity_checking:
            return
        if trainer.state.fn == "validate":
            self._report(trainer, "validation", found)
        elif not self.best or found["SumR"] > self.best["SumR"]:
            self.best, self.best_epoch = found, trainer.current_epoch

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report."""
        self._report(trainer, "test", _recalls(trainer, "test"))

    @rank_zero_only
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the best epoch and where its checkpoint is."""
        if self.best:
            print("\n" + results_table({f"validation, epoch {self.best_epoch}": self.best}))
            checkpoint = getattr(trainer.checkpoint_callback, "best_model_path", "")
            if checkpoint:
                print(f"best checkpoint: {checkpoint}")

    @rank_zero_only
    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """After Ctrl-C say how to go on."""
        last = Path(trainer.log_dir or "") / "checkpoints" / "last.ckpt"
        if isinstance(exception, KeyboardInterrupt) and trainer.state.fn == "fit":
            resume = f"resume with --ckpt_path {last}" if last.exists() else "no epoch was finished"
            print(f"\ninterrupted: {resume}")

    @rank_zero_only
    def _report(self, trainer: Trainer, name: str, found: dict[str, float]) -> None:
        folder = run_folder(trainer)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "metrics.json"
        path.write_text(json.dumps(found, indent=2) + "\n")
        print("\n" + results_table({name: found}))
        print(f"written to {path}")


def _recalls(trainer: Trainer, prefix: str) -> dict[str, float]:
    metrics = trainer.callback_metrics
    return {c: float(metrics[f"{prefix}/{c}"]) for c in COLUMNS if f"{prefix}/{c}" in metrics}
