"""Seconds of a whole epoch, training and validation, on the generated benchmark, on the CPU.

    python -m benchmarks.epoch [--root DIR] [--rounds N]

The Python API with the settings of configs/synthetic.yaml: Lightning's trainer, the data module,
the LightningModule, without logger, progress bar and checkpoints. The benchmark is generated into
DIR unless it is there. The first epoch does not count; each one after it is a round.
"""

import statistics
import time
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from benchmarks.inputs import Settings, settings
from benchmarks.report import machine, parser, positive, publish, use_threads
from data_modules.generation.world import WorldConfig
from data_modules.synthetic import Synthetic
from dreamprvr.models.dreamprvr import DreamPRVR
from dreamprvr.training.module import PRVRModule
from dreamprvr.training.optimizer import BertAdam

BATCH = 32  # as in configs/synthetic.yaml


class EpochTimer(Callback):
    """Seconds of each epoch's training and validation, loading included."""

    def __init__(self) -> None:
        self.train: list[float] = []
        self.validation: list[float] = []
        self._start = 0.0
        self._validating = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The clock starts."""
        self._start = time.perf_counter()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Training ends, validation starts."""
        self._validating = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Validation ends; the epoch does no more after it."""
        now = time.perf_counter()
        self.train.append(self._validating - self._start)
        self.validation.append(now - self._validating)


def small_world(videos: int) -> type[Synthetic]:
    """The benchmark with that many training videos and half as many to evaluate; for try-outs."""
    count = max(2, videos // 2)
    world = WorldConfig(train=videos, val=count, test=count)
    return type("SmallSynthetic", (Synthetic,), {"world": world})


def module(chosen: Settings) -> PRVRModule:
    """What the command line makes of the configuration."""
    return PRVRModule(
        DreamPRVR(chosen.video_dim, chosen.text_dim, chosen.network, chosen.objective),
        optimizer=partial(BertAdam, lr=chosen.lr, weight_decay=chosen.weight_decay),
        warmup=chosen.warmup,
    )


def run(root: Path, epochs: int, kind: type[Synthetic] = Synthetic) -> dict[str, Any]:
    """Train; seconds of each epoch but the first, by part, and the last SumR in %."""
    chosen = settings("synthetic")
    data = kind(
        root, batch_size=BATCH, num_workers=0, num_clips=chosen.network.num_clips,
        max_frames=chosen.network.max_frames, max_words=chosen.network.max_words,
    )  # fmt: skip
    timer = EpochTimer()
    trainer = Trainer(
        accelerator="cpu", max_epochs=epochs + 1, num_sanity_val_steps=0, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[timer],
    )  # fmt: skip
    torch.manual_seed(0)
    with warnings.catch_warnings():
        # loading in the process itself is meant: the configuration does so
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        warnings.filterwarnings("ignore", ".*number of training batches.*")
        trainer.fit(module(chosen), data)
    return {
        "train": timer.train[1:],
        "validation": timer.validation[1:],
        "sum_r": float(trainer.callback_metrics["val/SumR"]),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    options = parser(__doc__, "epoch", rounds=5)
    options.add_argument("--root", type=Path, default=Path("data"), help="default: %(default)s")
    options.add_argument("--videos", type=positive, help="a smaller benchmark")
    chosen = options.parse_args(arguments)
    use_threads(chosen.threads)
    described = machine()
    kind, root = Synthetic, chosen.root
    if chosen.videos:  # in a folder of its own: it must not replace the benchmark
        kind, root = small_world(chosen.videos), root / f"synthetic_{chosen.videos}"
    found = run(root, chosen.rounds, kind)
    parts = {name: found[name] for name in ("train", "validation")}
    parts["epoch"] = [sum(both) for both in zip(*parts.values(), strict=True)]
    rows = [
        {"part": name, "seconds": statistics.median(taken), "fastest": min(taken),
         "slowest": max(taken)}
        for name, taken in parts.items()
    ]  # fmt: skip
    sizes = {"videos": {"train": kind.world.train, "val": kind.world.val}, "batch": BATCH}
    publish(chosen.output, described, rows, sizes=sizes, seconds=parts, sum_r=found["sum_r"])


if __name__ == "__main__":
    main()
