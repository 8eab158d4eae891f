"""The callbacks of a run: the user's own, and those that every run has."""

from importlib.util import find_spec
from typing import Any

from lightning import Callback
from lightning.pytorch.callbacks import (
    EarlyStopping,
    LearningRateMonitor,
    ModelCheckpoint,
    ProgressBar,
    RichProgressBar,
    TQDMProgressBar,
)

from dreamprvr.training.callbacks.checkpoints import LastCheckpoint, RunCheckpoint
from dreamprvr.training.callbacks.finite import Finite
from dreamprvr.training.callbacks.results import Results
from dreamprvr.training.callbacks.resuming import Resuming

LOG_EVERY = 10  # steps


def all_callbacks(verb: str | None, trainer: Any, has_logger: bool) -> list[Callback]:
    """Collect the callbacks of a run.

    Args:
        verb: `fit`, `validate`, `test` or `predict`.
        trainer: its settings; `callbacks` holds the user's own, one or a list.
        has_logger: whether the run makes a logger besides those of the settings.
    """
    given = trainer.callbacks or []
    callbacks: list[Callback] = [*given] if isinstance(given, list) else [given]
    for callback in callbacks:
        _fit_in(callback)
    # the trainer takes no second progress bar
    if trainer.enable_progress_bar is not False and not _any(callbacks, ProgressBar):
        callbacks += [progress_bar()]
    callbacks += [Results()]
    if verb != "fit":
        return callbacks
    callbacks += [Finite(), Resuming()]
    if trainer.enable_checkpointing is not False:
        # the trainer names its first as the best; the last one holds the state of all others
        best, last = RunCheckpoint("best", monitor="val/SumR"), LastCheckpoint()
        callbacks = [best, *callbacks, last]
    if (has_logger or trainer.logger) and not _any(callbacks, LearningRateMonitor):
        callbacks += [LearningRateMonitor(logging_interval="step")]
    return callbacks


def _any(callbacks: list[Callback], kind: type[Callback]) -> bool:
    return any(isinstance(callback, kind) for callback in callbacks)


def _fit_in(callback: Callback) -> None:
    """Let a callback of the user's work beside those of every run."""
    if isinstance(callback, EarlyStopping) and callback.monitor.startswith("val"):
        # at the end of an epoch that was cut short there may be nothing to look at
        callback._check_on_train_epoch_end = False
    if isinstance(callback, ModelCheckpoint):
        # the run's own best.ckpt and last.ckpt lie in the same folder
        callback.CHECKPOINT_NAME_LAST = "own-last"
        if callback.filename in ("best", "last"):
            callback.filename = f"own-{callback.filename}"


def progress_bar() -> ProgressBar:
    """Lightning's own, but refreshed now and then: to show a loss, it waits for the device."""
    bar = RichProgressBar if find_spec("rich") else TQDMProgressBar
    return bar(refresh_rate=LOG_EVERY)
