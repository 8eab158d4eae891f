"""Settings that Lightning would take, and fail at later: they are refused at the start."""

import traceback
from types import NoneType
from typing import Any, get_args

from dreamprvr.core.errors import UserError

LARGEST_SEED = 2**32 - 1  # the largest that numpy takes
LEAST = {
    "accumulate_grad_batches": 1, "check_val_every_n_epoch": 1, "gradient_clip_val": 0,
    "log_every_n_steps": 0, "min_epochs": 0, "min_steps": 0, "num_sanity_val_steps": -1,
}  # fmt: skip
HALF_WEIGHTS = ("bf16-true", "16-true")


def count_batches_in_whole_numbers(trainer: type) -> None:
    """Have `1` mean one batch in the settings of Lightning's Trainer that also take a share.

    They are annotated `Optional[Union[int, float]]`. Python may give back the equal
    `Optional[Union[float, int]]` that another module made before, and then `1` is parsed as 1.0,
    all batches. The form with bars keeps its order.

    Args:
        trainer: Lightning's Trainer; the annotations of its settings are replaced.
    """
    annotations = trainer.__init__.__annotations__  # type: ignore[misc]
    for name, kind in annotations.items():
        if set(get_args(kind)) == {int, float, NoneType}:
            annotations[name] = int | float | None
        elif set(get_args(kind)) == {int, float}:
            annotations[name] = int | float


def check_seed(seed: Any) -> None:
    """Refuse a seed that no generator accepts; true is a random seed, and false is none."""
    if not isinstance(seed, bool) and not 0 <= seed <= LARGEST_SEED:
        raise UserError(f"seed_everything is {seed}; from 0 to {LARGEST_SEED:,}")


def check_trainer(trainer: Any, verb: str | None) -> None:
    """Refuse values of the trainer's settings.

    Args:
        trainer: settings of the trainer.
        verb: `fit`, `validate`, `test` or `predict`; None if only the configuration is read.

    Raises:
        UserError: names the setting and its allowed values.
    """
    for name, least in LEAST.items():
        value = trainer.get(name)
        if value is not None and not value >= least:
            raise UserError(f"trainer.{name} is {value}; at least {least}")
    interval = trainer.val_check_interval
    if isinstance(interval, (int, float)) and not interval > 0:
        raise UserError(
            f"trainer.val_check_interval is {interval}; a share of an epoch (0.5), or a number of "
            "steps from 1"
        )
    for name in ("limit_train_batches", "max_epochs", "max_steps") if verb == "fit" else ():
        if trainer.get(name) == 0:
            raise UserError(f"trainer.{name} is 0: fit has nothing to do")
    if str(trainer.precision) in HALF_WEIGHTS:
        raise UserError(
            f"trainer.precision {trainer.precision} keeps the weights themselves in half "
            "precision, in which this network does not train: use bf16-mixed or 16-mixed"
        )


def is_lightnings(error: BaseException) -> bool:
    """Return whether Lightning itself raised an error."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(frames) and frames[-1].f_globals.get("__name__", "").startswith("lightning.")
