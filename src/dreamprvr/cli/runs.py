"""Run folders, which hold all files of a training and allow it to be resumed."""

import csv
import os
import re
import tempfile
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, Logger

from dreamprvr.core.errors import UserError
from dreamprvr.core.files import atomic_path, inside, open_regular, plain_errors, reason, write_text
from dreamprvr.core.yaml_text import load_yaml

# arguments of `open`
TEXT: dict[str, Any] = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}
NAME = re.compile(r"version_([0-9]+)")


class RunFolder(Callback):
    """The folder of one training, `<root>/version_N/`.

    A new run makes the folder with the next number at once, so that two runs that start together
    get two folders. The folder is removed again if no step is trained. A resumed run changes
    nothing in its folder before its checkpoint is loaded.

    Args:
        root: folder of the runs.
        ckpt_path: checkpoint to resume; a run in `root` continues in its own folder.

    Attributes:
        path: the run's folder. Processes other than the first know it once the trainer starts.
        config: settings for `config.yaml`, as YAML.
    """

    def __init__(self, root: Path, ckpt_path: str | None) -> None:
        self.root = root
        resumed = resumed_run(ckpt_path, root)
        self.is_new = resumed is None
        self.path = resumed or root / "version_of_the_first_rank"
        self.config = ""
        self._logger: RunLogger | None = None
        self._made: list[Path] = []
        self._trained = False

    def open(self) -> None:
        """Make the folder of a new run, or check that the folder of a resumed run is writable.

        Raises:
            UserError: the folder is not writable, or a folder of the run is a link.
        """
        try:
            if self.is_new:
                self._claim()
            else:
                for name in ("checkpoints", "tensorboard", "wandb"):
                    inside(self.path, name, kind="folder")
                for folder in (self.path, self.path / "checkpoints"):
                    if folder.is_dir():
                        tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            self.abandon()
            raise UserError(
                f"cannot write to {self.root if self.is_new else self.path}: {reason(error)}; or "
                "give another --trainer.default_root_dir"
            ) from None

    def _claim(self) -> None:
        missing = [folder for folder in (self.root, *self.root.parents) if not folder.exists()]
        self.root.mkdir(parents=True, exist_ok=True)
        self._made = missing
        matches = (NAME.fullmatch(path.name) for path in self.root.iterdir())
        first = max((int(match[1]) for match in matches if match), default=-1) + 1
        for number in count(first):
            path = self.root / f"version_{number}"
            with suppress(FileExistsError):  # another run has just made it
                path.mkdir()
                self.path = path
                self._made = [path, *missing]
                return

    def abandon(self) -> None:
        """Remove a new run's folder if no step was trained and it holds only `config.yaml`."""
        if self._trained or not self._made:
            return
        with suppress(OSError):
            if self.path in self._made and os.listdir(self.path) == ["config.yaml"]:
                (self.path / "config.yaml").unlink()
            for folder in self._made:
                folder.rmdir()

    def loggers(self, wandb: bool, tensorboard: bool) -> list[Logger]:
        """Make the loggers: CSV always, wandb and TensorBoard on request.

        Args:
            wandb: log to Weights & Biases, offline if this machine has no account.
            tensorboard: write TensorBoard files into the run's folder.
        """
        # the CSV logger comes first: its folder is the run's folder
        self._logger = RunLogger(self.path)
        loggers: list[Logger] = [self._logger]
        if wandb:
            loggers.append(_wandb_logger(self.path))
        if tensorboard:
            loggers.append(_tensorboard_logger(self.path))
        return loggers

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give the folder to all processes, and to all checkpoint callbacks without a folder."""
        self.path = Path(trainer.strategy.broadcast(str(self.path)))
        if self._logger is not None:
            self._logger._version = self.path.name
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, ModelCheckpoint) and callback.dirpath is None:
                callback.dirpath = str(self.path / "checkpoints")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write `config.yaml`, now that weights and optimiser have been loaded."""
        if trainer.is_global_zero:
            write_config(self.path, self.config)

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        """Note that a step was trained."""
        self._trained = True

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Write the metrics before the checkpoint: a resumed run does not log them again."""
        if self._logger is not None:
            self._logger.save()


def resumed_run(ckpt_path: str | None, root: Path) -> Path | None:
    """Find the run in `root` that a checkpoint belongs to; None if it lies elsewhere."""
    if not ckpt_path:
        return None
    run = Path(ckpt_path).resolve().parent.parent
    if run.parent != root.resolve() or not NAME.fullmatch(run.name):
        return None
    return root / run.name


def write_config(run: Path, text: str) -> None:
    """Write `config.yaml`; keep an earlier file that differs as `config-1.yaml` and so on.

    Args:
        run: folder of the run.
        text: settings as YAML. An earlier file stays if only its checkpoint to resume differs.
    """
    path = run / "config.yaml"
    with plain_errors(path):
        if path.exists():
            earlier = path.read_text(encoding="utf-8", errors="replace")
            if _without_checkpoint(earlier) == _without_checkpoint(text):
                return
            kept = next(p for i in count(1) if not (p := run / f"config-{i}.yaml").exists())
            os.link(path, kept, follow_symlinks=False)  # so `config.yaml` is there at any moment
        write_text(path, text)


def _without_checkpoint(text: str) -> Any:
    try:
        settings = load_yaml(text)
    except UserError:
        return text
    if not isinstance(settings, dict):
        return text
    return {key: value for key, value in settings.items() if key != "ckpt_path"}


class RunLogger(CSVLogger):
    """Writes the metrics of a run; a resumed run appends to its file.

    Args:
        run: folder of the run.
    """

    def __init__(self, run: Path) -> None:
        super().__init__(os.fspath(run.parent), name="", version=run.name)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """Return the file of metrics."""
        if self._experiment is None:
            self._experiment = MetricsFile(Path(self.log_dir) / "metrics.csv")  # type: ignore[assignment]
        return self._experiment

    def log_hyperparams(self, params: Any = None) -> None:
        """Write nothing: `config.yaml` holds all settings."""


class MetricsFile:
    """A CSV file of metrics that only grows: rows are appended, columns are added.

    A step that was trained twice, before and after an interruption, has two rows.

    Args:
        path: path of the file; it may exist already.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metrics: list[dict[str, Any]] = []  # rows that are not written yet
        self._columns: list[str] | None = None

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Add a row, which `save` writes.

        Args:
            metrics: numbers, or tensors of one number, by name.
            step: training step of the metrics.
        """
        row = {k: v.item() if hasattr(v, "item") else v for k, v in metrics.items()}
        self.metrics.append(row | {"step": len(self.metrics) if step is None else step})

    def save(self) -> None:
        """Write the rows that are not written yet.

        Raises:
            UserError: the disk is full, or writing is not permitted.
        """
        if not self.metrics:
            return
        columns, self._columns = self._columns, None  # a failure may leave half a row
        with plain_errors(self.path, "then resume with --ckpt_path and the run's last.ckpt"):
            self._columns = self._write(columns)
        self.metrics = []

    def _write(self, columns: list[str] | None) -> list[str]:
        """Append the rows, and return all columns.

        Args:
            columns: names of the columns of the file; None if they are unknown.
        """
        added = sorted(set().union(*self.metrics) - set(columns or []))
        if columns is None or added:
            columns = self._rewrite(added)
        with open(open_regular(self.path, os.O_WRONLY | os.O_APPEND), "a", **TEXT) as file:
            csv.DictWriter(file, columns, lineterminator="\n").writerows(self.metrics)
        return columns

    def _rewrite(self, names: list[str]) -> list[str]:
        """Write the file once more with further columns, and return all columns.

        A last line without an end is left out: a process died while it wrote this line.

        Args:
            names: names of the further columns.
        """
        text = ""
        if self.path.exists():
            with open(open_regular(self.path), **TEXT) as file:
                text = file.read()
        header, *rows = list(csv.reader(text[: text.rfind("\n") + 1].splitlines())) or [[]]
        columns = [*header, *(name for name in names if name not in header)]
        with atomic_path(self.path) as partial, partial.open("w", **TEXT) as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([columns, *(row + [""] * (len(columns) - len(row)) for row in rows)])
        return columns


def _wandb_logger(run: Path) -> Logger:
    import wandb
    from lightning.pytorch.loggers import WandbLogger

    options: dict[str, Any] = {"project": "dreamprvr", "save_dir": str(run)}
    # Lightning's offline=True sets WANDB_MODE too late: wandb has read it for api_key already
    if wandb.api.api_key is None and "WANDB_MODE" not in os.environ:
        options["mode"] = "offline"
    return WandbLogger(name=f"{run.parent.name}/{run.name}", **options)


def _tensorboard_logger(run: Path) -> Logger:
    from lightning.pytorch.loggers import TensorBoardLogger

    try:
        return TensorBoardLogger(str(run), name="", version="tensorboard")
    except ModuleNotFoundError:
        raise UserError(
            "--tensorboard needs tensorboard: pip install 'dreamprvr[tensorboard]'"
        ) from None
