"""The callbacks of a run: the user's own, and those that every run has."""

from importlib.util import find_spec
from typing import Any

from lightning import Callback
from lightning.pytorch.callbacks import (
    LearningRateMonitor,
    ModelCheckpoint,
    ProgressBar,
    RichProgressBar,
    TQDMProgressBar,
)

from dreamprvr.callbacks.random_state import RandomState
from dreamprvr.callbacks.results import Results

LOG_EVERY = 10  # steps


def all_callbacks(verb: str | None, trainer: Any, has_logger: bool) -> list[Callback]:
    """The callbacks of a run.

    Args:
        verb: `fit`, `validate`, `test` or `predict`.
        trainer: its settings; `callbacks` holds the user's own, one or a list.
        has_logger: whether the run makes a logger besides those of the settings.
    """
    given = trainer.callbacks or []
    callbacks: list[Callback] = [*given] if isinstance(given, list) else [given]
    # the trainer takes no second progress bar
    bars = any(isinstance(callback, ProgressBar) for callback in callbacks)
    if trainer.enable_progress_bar is not False and not bars:
        callbacks += [progress_bar()]
    callbacks += [Results()]
    if verb != "fit":
        return callbacks
    callbacks += [RandomState()]
    if trainer.enable_checkpointing is not False:
        callbacks += [
            ModelCheckpoint(
                filename="best", monitor="val/SumR", mode="max", enable_version_counter=False
            ),
            ModelCheckpoint(filename="last", enable_version_counter=False),
        ]
    if has_logger or trainer.logger:
        callbacks += [LearningRateMonitor(logging_interval="step")]
    return callbacks


def progress_bar() -> ProgressBar:
    """Lightning's own, but refreshed now and then: to show a loss, it waits for the device."""
    bar = RichProgressBar if find_spec("rich") else TQDMProgressBar
    return bar(refresh_rate=LOG_EVERY)
