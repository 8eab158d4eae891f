"""Check the state of a training that a checkpoint holds, before a run is resumed from it."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning import Trainer
from packaging.version import InvalidVersion, Version
from torch import Tensor
from torch.optim import Optimizer

from dreamprvr.core.errors import UserError
from dreamprvr.core.text import quote
from dreamprvr.training.callbacks.resuming import KEY as RANDOM_STATE
from dreamprvr.training.module import PRVRModule
from dreamprvr.training.optimizer import warmup_schedule

OLDEST = Version("2.6")  # oldest release of Lightning that has written this framework's checkpoints
# tensors that an optimiser keeps for each parameter, by the name of its class
MOMENTS = {
    "BertAdam": {"m", "v"}, "Adam": {"exp_avg", "exp_avg_sq"}, "AdamW": {"exp_avg", "exp_avg_sq"},
}  # fmt: skip
# types of the values in parts of a callback's state that are empty dictionaries at the start
ENTRIES: dict[str, type | tuple[type, ...]] = {"best_k_models": Tensor, "best": (int, float)}


def check_training_state(
    checkpoint: Mapping[str, Any], path: str | Path, trainer: Trainer, module: PRVRModule
) -> None:
    """Refuse a state from which this run cannot be resumed, before anything is changed.

    Args:
        checkpoint: content of the file, as `read_checkpoint` returns it.
        path: path of the file, for messages.
        trainer: trainer of the run; its loops and callbacks show the form of their saved states.
        module: model and optimiser of the run.

    Raises:
        UserError: a part of the state is missing, of another form, or of another training; names
            the file and the part.
    """
    try:
        _check_counts(checkpoint)
        # another release of Lightning may have saved less
        same_release = checkpoint["pytorch-lightning_version"] == lightning.__version__
        loops, fresh = checkpoint.get("loops"), {"fit_loop": trainer.fit_loop.state_dict()}
        _check_form(fresh if same_release else _shared(fresh, loops), loops, "loops")
        _check_callbacks(checkpoint.get("callbacks"), trainer, same_release)
        _check_resuming(checkpoint, module)
        _check_optimizer(checkpoint, module)
    except UserError as error:
        raise UserError(
            f"checkpoint {path}: its training cannot be resumed ({error}); --init_from uses its "
            "weights alone"
        ) from None


def _check_counts(checkpoint: Mapping[str, Any]) -> None:
    for name in ("epoch", "global_step"):
        _check_form(0, checkpoint.get(name), name)
    version = checkpoint.get("pytorch-lightning_version")
    try:
        is_readable = isinstance(version, str) and Version(version) >= OLDEST
    except InvalidVersion:
        is_readable = False
    if not is_readable:
        raise UserError(f"written by Lightning {quote(version)}, not by {OLDEST} or a later one")


def _shared(fresh: Any, saved: Any) -> Any:
    """Return the part of a new state whose keys the saved one has as well."""
    if not isinstance(fresh, dict) or not isinstance(saved, Mapping):
        return fresh
    return {key: _shared(value, saved[key]) for key, value in fresh.items() if key in saved}


def _check_callbacks(saved: Any, trainer: Trainer, same_release: bool) -> None:
    _check_form({}, saved, "callbacks")
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        state, key = callback.state_dict(), callback.state_key
        # a user's own callback may read states that an earlier version of it saved
        is_users = not type(callback).__module__.startswith(("lightning.", "dreamprvr."))
        if not state or key not in saved or is_users:
            continue
        name = f"callbacks.{type(callback).__name__}"
        if "time_elapsed" in state:  # seconds of a timer: the first value is a whole number
            state["time_elapsed"] = dict.fromkeys(state["time_elapsed"], 0.0)
        _check_form(state if same_release else _shared(state, saved[key]), saved[key], name)
        for entry in state.keys() & ENTRIES.keys() & saved[key].keys():
            for value in saved[key][entry].values():
                if not isinstance(value, ENTRIES[entry]):
                    raise UserError(f"{name}.{entry} holds {quote(value)}")


def _check_resuming(checkpoint: Mapping[str, Any], module: PRVRModule) -> None:
    """Check the parts that `callbacks.resuming` saves; earlier releases saved fewer of them."""
    _check_form(False, checkpoint.get("should_stop", False), "should_stop")
    parameters = {name: p.detach() for name, p in module.named_parameters()}
    states = checkpoint.get(RANDOM_STATE, [])
    _check_form([], states, RANDOM_STATE)
    for state in states:
        _check_form({"cpu": torch.get_rng_state()}, state, RANDOM_STATE)
        try:
            torch.Generator().set_state(state["cpu"].clone())
        except RuntimeError:
            raise UserError(f"{RANDOM_STATE}.cpu is no state of a random generator") from None
        gradients = state.get("gradients", {})
        _check_form({}, gradients, "gradients")
        fresh = {name: parameters[name] for name in gradients if name in parameters}
        _check_form(fresh, gradients, "gradients")
    places = checkpoint["loops"]["fit_loop"]["state_dict"].get("combined_loader", [])
    _check_form([], places, "combined_loader")
    for place in places:
        _check_form({"seed": 0, "epoch": 0, "batches": 0}, place, "combined_loader")


def _check_optimizer(checkpoint: Mapping[str, Any], module: PRVRModule) -> None:
    """Compare the saved states of optimiser and schedule with the states of new ones."""
    optimizer = module.make_optimizer(module.network.parameter_groups())
    fresh = {"state": {}, "param_groups": optimizer.state_dict()["param_groups"]}
    saved: Any = checkpoint.get("optimizer_states")
    _refuse_another(saved, type(optimizer).__name__)
    _check_form([fresh], saved, "optimizer_states", same_length=True)
    _check_moments(saved[0]["state"], optimizer, bool(checkpoint["global_step"]))
    schedule = warmup_schedule(optimizer, 1, module.warmup).state_dict()
    _check_form([schedule], checkpoint.get("lr_schedulers"), "lr_schedulers", same_length=True)


def _refuse_another(saved: Any, kind: str) -> None:
    """Refuse the states of another optimiser, which its tensors of the first parameter tell.

    Args:
        saved: `optimizer_states` of the checkpoint, of any form.
        kind: name of the class of the configured optimiser.
    """
    try:
        kept = set(next(iter(saved[0]["state"].values())))
    except (TypeError, KeyError, IndexError, AttributeError, StopIteration):
        return  # `_check_form` says what is wrong
    wrote = [name for name, moments in MOMENTS.items() if moments <= kept]
    if wrote and kind in MOMENTS and kind not in wrote:
        raise UserError(f"{' or '.join(wrote)} has trained it, but {kind} is configured")


def _check_moments(saved: Mapping[Any, Any], optimizer: Optimizer, has_stepped: bool) -> None:
    kind = type(optimizer).__name__
    needed = MOMENTS.get(kind, set())
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    if needed and has_stepped and not saved:
        raise UserError("optimizer_states holds no state")
    for index, state in saved.items():
        name = f"optimizer_states.state.{quote(index)}"
        if (
            isinstance(index, bool)
            or not isinstance(index, int)
            or index not in range(len(parameters))
        ):
            raise UserError(f"{name} belongs to no parameter")
        _check_form({}, state, name)
        if missing := sorted(needed - state.keys()):
            raise UserError(f"{name} has no {missing[0]}: another optimiser than {kind} wrote it")
        for key in needed:
            _check_form(parameters[index].detach(), state[key], f"{name}.{key}")


def _check_form(fresh: Any, saved: Any, name: str, same_length: bool = False) -> None:
    """Refuse a saved value whose form differs from that of a new training's value.

    The saved value needs the same type and shape. A dictionary needs at least the same keys.
    Numbers must be finite where the new ones are, and counts must not be negative.

    Args:
        fresh: value of a new training.
        saved: value in the checkpoint.
        name: path of the value in the checkpoint, for the message: `loops.fit_loop`.
        same_length: if True, lists and the lists within them need the length of the new ones.

    Raises:
        UserError: names the first value whose form differs.
    """
    if isinstance(fresh, dict):
        _check_dict(fresh, saved, name, same_length)
    elif isinstance(fresh, (list, tuple)):
        if not isinstance(saved, (list, tuple)) or (same_length and len(saved) != len(fresh)):
            raise UserError(
                f"{name} is not a list of {len(fresh)}" if same_length else f"{name} is not a list"
            )
        for number, pair in enumerate(zip(fresh, saved, strict=False)):
            _check_form(*pair, f"{name}.{number}", same_length)
    elif isinstance(fresh, Tensor):
        # the best value so far may have another precision than the initial one
        is_number = fresh.ndim == 0 and isinstance(saved, Tensor) and saved.is_floating_point()
        kind = saved.dtype if is_number else fresh.dtype
        if not isinstance(saved, Tensor) or saved.shape != fresh.shape or saved.dtype != kind:
            raise UserError(f"{name} is not a tensor of {tuple(fresh.shape)}, {fresh.dtype}")
        if fresh.isfinite().all() and not saved.isfinite().all():
            raise UserError(f"{name} is not finite")
    elif not _is_like(fresh, saved):
        raise UserError(f"{name} is missing" if saved is None else f"{name} is {quote(saved)}")


def _check_dict(fresh: dict[Any, Any], saved: Any, name: str, same_length: bool) -> None:
    if not isinstance(saved, Mapping):
        raise UserError(f"{name} is missing" if saved is None else f"{name} is not a dictionary")
    for key, value in fresh.items():
        if key not in saved:
            raise UserError(f"{name}.{key} is missing")
        _check_form(value, saved[key], f"{name}.{key}", same_length)


def _is_like(fresh: Any, saved: Any) -> bool:
    """Return whether a number, string or None has the type and range of a new training's."""
    if fresh is None:
        return not isinstance(saved, (Mapping, list, tuple))
    if isinstance(fresh, bool) or isinstance(saved, bool):
        return isinstance(fresh, bool) and isinstance(saved, bool)
    if isinstance(fresh, int):
        return isinstance(saved, int) and min(fresh, 0) <= saved < 1 << 62
    if isinstance(fresh, float):
        return isinstance(saved, (int, float)) and abs(saved) < 1e30 and not math.isnan(saved)
    return isinstance(saved, str) if isinstance(fresh, str) else True
