"""Run folders: where a training writes, and how it goes on after an interruption."""

import os
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger

from dreamprvr.errors import UserError


def resumed_version(ckpt_path: str | None, root: Path) -> int | None:
    """Number of the run in `root` that a checkpoint belongs to, None if it is from elsewhere."""
    if not ckpt_path:
        return None
    run = Path(ckpt_path).resolve().parent.parent
    if run.parent != root.resolve() or not run.name.startswith("version_"):
        return None
    number = run.name.removeprefix("version_")
    return int(number) if number.isdigit() else None


def keep_earlier_metrics(run: Path) -> None:
    """Rename a resumed run's metrics.csv, which its new logger would delete."""
    metrics = run / "metrics.csv"
    if metrics.exists():
        count = sum(1 for _ in run.glob("metrics-*.csv"))
        metrics.rename(run / f"metrics-{count + 1}.csv")


def make_loggers(root: Path, ckpt_path: str | None, wandb: bool, tensorboard: bool) -> list[Logger]:
    """Loggers of a training: CSV always, wandb and TensorBoard on request.

    Args:
        root: holds the runs, `version_0` and on.
        ckpt_path: checkpoint that is resumed; a run of `root` goes on in its own folder.
        wandb: log to Weights & Biases; offline if this machine has no account.
        tensorboard: write TensorBoard files into the run's folder.
    """
    version = resumed_version(ckpt_path, root)
    # the CSV logger comes first: its folder is the run's folder
    csv = CSVLogger(str(root), name="", version=version)
    run = Path(csv.log_dir)
    if version is not None:
        keep_earlier_metrics(run)
    loggers: list[Logger] = [csv]
    if wandb:
        loggers.append(_wandb_logger(run))
    if tensorboard:
        loggers.append(_tensorboard_logger(run))
    return loggers


def _wandb_logger(run: Path) -> Logger:
    import wandb
    from lightning.pytorch.loggers import WandbLogger

    run.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"project": "dreamprvr", "save_dir": str(run)}
    # Lightning's offline=True sets WANDB_MODE, which comes too late: api_key made wandb read it
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
