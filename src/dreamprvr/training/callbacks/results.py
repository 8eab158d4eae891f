"""Print the table of results and keep the record of evaluations."""

import sys
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_only

from data_modules.base import PRVRDataModule
from data_modules.readers.labels import Labelled
from dreamprvr.core.errors import UserError
from dreamprvr.core.text import one_line
from dreamprvr.evaluation.metrics import COLUMNS, SEVERAL, Coverage, results_table
from dreamprvr.evaluation.record import Origin, add_entry, evaluation_entry, other_settings

MONITORS = {"val_SumR", *(f"val/{column}" for column in (*COLUMNS, *SEVERAL))}
SPLITS = {"validate": "val", "test": "test"}
EVALUATED = {"fit": "val", "predict": "test", **SPLITS}  # by stage


def run_folder(trainer: Trainer) -> Path:
    """Return the folder for results.

    It does not use `trainer.log_dir`, which waits for all processes.

    Args:
        trainer: the trainer. If its checkpoint lies in a run's folder (`<run>/checkpoints/`), the
            result is this folder, and otherwise the folder of the trainer's logs.
    """
    checkpoint = Path(trainer.ckpt_path) if trainer.ckpt_path else None
    if checkpoint is not None and checkpoint.parent.name == "checkpoints":
        return checkpoint.parent.parent
    logger = trainer.loggers[0] if trainer.loggers else None
    return Path(getattr(logger, "log_dir", None) or trainer.default_root_dir)


class Results(Callback):
    """Prints a table of R@1, R@5, R@10, R@100 and SumR at the end of every command.

    After a training the table shows the best epoch. Validation and test also add to `metrics.json`.
    An evaluation of a part of a split is marked in the table, is not recorded, and chooses no
    checkpoint. With a file of labels the table names it and has more columns, and what does not
    match is printed before anything is computed.

    Attributes:
        labels: name of the labels that a training chooses its best epoch by; None for those of
            the annotations.
    """

    def __init__(self) -> None:
        self.labels: str | None = None
        self.best: dict[str, float] = {}
        self.best_epoch = -1
        self.partial: dict[str, dict[str, float]] = {}  # the last one of a training

    def state_dict(self) -> dict[str, Any]:
        """Return the best epoch so far, for resumed runs."""
        labels = {"labels": self.labels} if self.labels else {}
        return {"best": self.best, "best_epoch": self.best_epoch, **labels}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the best epoch of the run that is resumed.

        Raises:
            UserError: it was found by other labels, by which results cannot be compared.
        """
        self.best, self.best_epoch = state_dict["best"], state_dict["best_epoch"]
        if self.best and state_dict.get("labels") != self.labels:
            raise UserError(
                "the best epoch so far was chosen by other labels than those of data.labels: "
                "resume with the file that the training began with, or begin anew with --init_from"
            )

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse an evaluation of no batch; allow a training that validates nothing or a part.

        With a file of labels, print how it matches the split that is evaluated.
        """
        for verb, split in SPLITS.items():
            if stage == verb and getattr(trainer, f"limit_{split}_batches") == 0:
                raise UserError(f"trainer.limit_{split}_batches is 0: {verb} has nothing to do")
        if stage == "fit":
            for callback in trainer.callbacks:  # type: ignore[attr-defined]
                if isinstance(callback, EarlyStopping) and callback.monitor in MONITORS:
                    callback.strict = False
            if trainer.limit_val_batches == 0:
                _choose_no_checkpoint(trainer)
        data = trainer.datamodule  # type: ignore[attr-defined]
        if isinstance(data, PRVRDataModule) and (labelled := data.labelled(EVALUATED[stage])):
            _print_match(labelled)
            self.labels = labelled.table.labels()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember the best epoch of a training, or report the result of `validate`."""
        if trainer.sanity_checking:
            return
        if trainer.state.fn == "validate":
            self._report(trainer, pl_module, "val")
            return
        if measures := _measures(trainer, "val"):
            if not self.best or measures["SumR"] > self.best["SumR"]:
                self.best, self.best_epoch = measures, trainer.current_epoch
        elif measures := _measures(trainer, "val_partial"):
            _choose_no_checkpoint(trainer)
            name = f"{_name(trainer, 'val')}, epoch {trainer.current_epoch}"
            self.partial = {_marked(name, pl_module): measures}

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the result of `test`."""
        self._report(trainer, pl_module, "test")

    @rank_zero_only
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the best epoch and where its checkpoint is."""
        if self.best:
            name = f"{_name(trainer, 'val')}, epoch {self.best_epoch}"
            print("\n" + results_table({name: self.best}))
            checkpoint = getattr(trainer.checkpoint_callback, "best_model_path", "")
            if checkpoint:
                print(f"best checkpoint: {checkpoint}")
        if self.partial:
            print("\n" + results_table(self.partial))
            print("no best checkpoint is chosen by validations of a part of the split")
        elif trainer.limit_val_batches == 0:
            print("\nnothing was validated (trainer.limit_val_batches is 0): no best checkpoint")
        elif not self.best:
            print("\nnothing was validated: no best checkpoint")

    @rank_zero_only
    def _report(self, trainer: Trainer, pl_module: LightningModule, split: str) -> None:
        """Print the table, then add it to the record, which may fail."""
        name = _name(trainer, split)
        if not (measures := _measures(trainer, split)):
            part = {_marked(name, pl_module): _measures(trainer, f"{split}_partial")}
            print("\n" + results_table(part))
            print("not recorded: only a part of the split was evaluated")
            return
        print("\n" + results_table({name: measures}))
        data = trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(data, PRVRDataModule):
            return
        folder = run_folder(trainer)
        origin: Origin = pl_module.origin  # type: ignore[assignment]
        settings = other_settings(
            origin,
            pl_module.hparams["network"],
            gallery_dtype=(pl_module.gallery_dtype, "float32"),
            precision=(str(trainer.precision), "32-true"),
        )
        checkpoint = _relative(trainer.ckpt_path, folder)
        entry = evaluation_entry(data, split, checkpoint, measures, origin, settings)
        try:
            print(f"written to {add_entry(folder, entry)}")
        except UserError as error:
            sys.stdout.flush()
            print(f"not recorded: {error}", file=sys.stderr)


def _choose_no_checkpoint(trainer: Trainer) -> None:
    """Stop the callbacks that keep the best checkpoint: no value tells which one is best."""
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.monitor in MONITORS:
            callback.save_top_k = 0


def _name(trainer: Trainer, split: str) -> str:
    """Return the name of a table's row: data set and split, and the file of labels."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    name = f"{getattr(data, 'collection', '')} {split}".strip()
    labels = getattr(data, "labels", None)
    return f"{name}, labels {one_line(labels.name)}" if labels else name


def _marked(name: str, pl_module: LightningModule) -> str:
    coverage: Coverage | None = pl_module.coverage  # type: ignore[assignment]
    return f"{name}, PARTIAL ({coverage})"


def _relative(checkpoint: Any, folder: Path) -> str | None:
    """Return a checkpoint's path relative to its run, or its whole path if it lies elsewhere."""
    if not checkpoint:
        return None
    path = Path(checkpoint).absolute()
    return (
        path.relative_to(folder.absolute()).as_posix()
        if path.is_relative_to(folder.absolute())
        else str(path)
    )


def _measures(trainer: Trainer, prefix: str) -> dict[str, float]:
    metrics, names = trainer.callback_metrics, (*COLUMNS, *SEVERAL)
    return {c: float(metrics[f"{prefix}/{c}"]) for c in names if f"{prefix}/{c}" in metrics}


@rank_zero_only
def _print_match(labelled: Labelled) -> None:
    print(labelled.summary, flush=True)
    for line in labelled.mismatches:
        print(f"warning: {line}", file=sys.stderr)
