"""The callbacks of a run: the user's own, and those that every run has."""

from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any

import torch
from lightning import Callback
from lightning.pytorch.callbacks import (
    BackboneFinetuning,
    BaseFinetuning,
    BatchSizeFinder,
    EarlyStopping,
    LearningRateFinder,
    LearningRateMonitor,
    ModelCheckpoint,
    ModelPruning,
    ProgressBar,
    RichProgressBar,
    SpikeDetection,
    StochasticWeightAveraging,
    TQDMProgressBar,
)

from data_modules.base import PRVRDataModule
from dreamprvr.core.batch import Queries, TrainBatch, Videos
from dreamprvr.core.errors import UserError
from dreamprvr.evaluation.metrics import COLUMNS, SEVERAL
from dreamprvr.models.contract import RetrievalModel
from dreamprvr.training.callbacks.checkpoints import LastCheckpoint, RunCheckpoint
from dreamprvr.training.callbacks.finite import Finite
from dreamprvr.training.callbacks.results import Results
from dreamprvr.training.callbacks.resuming import Resuming

LOG_EVERY = 10  # steps from one logged step to the next
# callbacks of Lightning that cannot work here, with the reason; a user's subclass is allowed
REFUSED: dict[type[Callback], str] = {
    BaseFinetuning: "it is a base class; name a subclass of it that says what is frozen",
    BackboneFinetuning: "it freezes a part named `backbone`, which no retrieval model has",
    LearningRateFinder: "it needs a learning rate that it can change; compare runs of several "
    "rates instead",
    ModelPruning: "recurrent layers and weights that are used twice cannot be pruned while they "
    "are trained",
    SpikeDetection: "Lightning cannot resume a training with it; losses that are not finite end "
    "every training",
    StochasticWeightAveraging: "a training with it cannot be resumed exactly; use "
    "EMAWeightAveraging or WeightAveraging",
}


def all_callbacks(verb: str | None, trainer: Any, has_logger: bool) -> list[Callback]:
    """Collect the callbacks of a run.

    Args:
        verb: `fit`, `validate`, `test` or `predict`.
        trainer: settings of the trainer; `callbacks` holds the user's callback or a list of them.
        has_logger: True if the run makes a logger besides those of the settings.

    Raises:
        UserError: one of the user's callbacks cannot work here.
    """
    configured = trainer.callbacks or []
    callbacks: list[Callback] = [*configured] if isinstance(configured, list) else [configured]
    for callback in callbacks:
        _fit_in(callback)
    # the trainer accepts only one progress bar
    if trainer.enable_progress_bar is not False and not _any(callbacks, ProgressBar):
        callbacks += [progress_bar()]
    callbacks += [Results()]
    if verb != "fit":
        # it cannot change the batch sizes of an evaluation, which has two loaders
        return [callback for callback in callbacks if not isinstance(callback, BatchSizeFinder)]
    callbacks += [Finite(), Resuming()]
    if trainer.enable_checkpointing is not False:
        # the trainer reports its first checkpoint as the best; the last one must save after all
        # others
        best, last = RunCheckpoint("best", monitor="val/SumR"), LastCheckpoint()
        callbacks = [best, *callbacks, last]
    if (has_logger or trainer.logger) and not _any(callbacks, LearningRateMonitor):
        callbacks += [LearningRateMonitor(logging_interval="step")]
    return callbacks


def _any(callbacks: list[Callback], kind: type[Callback]) -> bool:
    return any(isinstance(callback, kind) for callback in callbacks)


def _fit_in(callback: Callback) -> None:
    """Adapt a user's callback to those of every run, or refuse it."""
    if reason := REFUSED.get(type(callback)):
        raise UserError(f"trainer.callbacks: {type(callback).__name__} cannot be used: {reason}")
    if isinstance(callback, EarlyStopping) and callback.monitor.startswith("val"):
        # at the end of an interrupted epoch the value may be missing
        callback._check_on_train_epoch_end = False
    if isinstance(callback, ModelCheckpoint):
        # the run's own best.ckpt and last.ckpt lie in the same folder
        callback.CHECKPOINT_NAME_LAST = "own-last"
        if callback.filename in ("best", "last"):
            callback.filename = f"own-{callback.filename}"


def check_monitors(
    callbacks: Iterable[Callback], model: RetrievalModel, data: PRVRDataModule
) -> None:
    """Refuse callbacks that monitor a value that no training logs, before the training starts.

    If the user has callbacks from other packages, nothing is refused, because they may log more.

    Args:
        callbacks: all callbacks of the training.
        model: the model to train, whose loss terms are logged.
        data: the data set. If its captions have several true videos, further measures are logged.

    Raises:
        UserError: names the value and all logged values.
    """
    callbacks = list(callbacks)
    modules = [type(callback).__module__ for callback in callbacks]
    if not all(module.startswith(("lightning.", "dreamprvr.")) for module in modules):
        return
    known = ["loss", "val_SumR", *(f"val/{column}" for column in COLUMNS)]
    several = {f"val/{measure}" for measure in SEVERAL}
    terms: list[str] = []
    for callback in callbacks:
        name = callback.monitor if isinstance(callback, EarlyStopping | ModelCheckpoint) else None
        # values of a part of a split have another name, and those of learning rates begin with
        # "lr-"
        if name is None or name.replace("val_partial", "val") in known or name.startswith("lr-"):
            continue
        if isinstance(callback, EarlyStopping) and not callback.strict:
            continue
        if name.replace("val_partial", "val") in several and _has_several(data):
            continue
        terms = terms or [f"train/{term}" for term in _loss_terms(model)]
        if name not in terms:
            raise UserError(
                f"trainer.callbacks: {type(callback).__name__} monitors {name}, which is not "
                f"logged; there are {', '.join([*known, *terms])}"
            )


def _has_several(data: PRVRDataModule) -> bool:
    """Return whether captions of the split val have several true videos, or may have them."""
    try:
        return bool((data.annotations("val").queries["video_ids"].map(len) > 1).any())
    except UserError:  # data that are generated later; or the training will say what is wrong
        return True


def _loss_terms(model: RetrievalModel) -> list[str]:
    """List the loss terms of a model, by a batch of random numbers; no generator is changed."""
    sizes, counts = model.config, (2, 3, 1)
    count = len(counts)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        clips = torch.randn(count, sizes.num_clips, model.video_dim)
        frames = torch.randn(count, sizes.max_frames, model.video_dim)
        words = torch.randn(sum(counts), sizes.max_words, model.text_dim)
        labels = torch.repeat_interleave(torch.arange(count), torch.tensor(counts))
        batch = TrainBatch(
            Videos(torch.arange(count), clips, frames, torch.ones(frames.shape[:2])),
            Queries(torch.arange(len(words)), words, torch.ones(words.shape[:2]), labels[:, None]),
            labels,
        )
        terms = model.losses(model.encode_batch(batch), 0)
    return [name for name in terms if name != "total"]


def progress_bar() -> ProgressBar:
    """Make Lightning's bar, but refreshed now and then: to show a loss, it waits for the device."""
    bar = RichProgressBar if find_spec("rich") else TQDMProgressBar
    return bar(refresh_rate=LOG_EVERY)
