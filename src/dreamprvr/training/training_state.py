"""Check the state of a training in a checkpoint against the run that is to go on from it."""

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
from dreamprvr.training.optimizer import warmup_linear_schedule

OLDEST = Version("2.6")  # release of Lightning that this framework's checkpoints come from
# what an optimiser keeps of each parameter, by the name of its class
MOMENTS = {
    "BertAdam": {"m", "v"}, "Adam": {"exp_avg", "exp_avg_sq"}, "AdamW": {"exp_avg", "exp_avg_sq"},
}  # fmt: skip
# what a callback's state holds under a key that is an empty dictionary at the start
ENTRIES: dict[str, type | tuple[type, ...]] = {"best_k_models": Tensor, "best": (int, float)}


def check_training_state(
    checkpoint: Mapping[str, Any], path: str | Path, trainer: Trainer, module: PRVRModule
) -> None:
    """Refuse a training's state that this run cannot go on from, before anything is changed.

    Args:
        checkpoint: content of the file, as `read_checkpoint` gives it.
        path: the file, for messages.
        trainer: is to resume; its loops and callbacks show the form that their states have.
        module: is to be trained further.

    Raises:
        UserError: names the file and what is missing, of another form, or of another training.
    """
    try:
        _check_counts(checkpoint)
        # another release of Lightning may have kept less
        alike = checkpoint["pytorch-lightning_version"] == lightning.__version__
        loops, fresh = checkpoint.get("loops"), {"fit_loop": trainer.fit_loop.state_dict()}
        _check_form(fresh if alike else _shared(fresh, loops), loops, "loops")
        _check_callbacks(checkpoint.get("callbacks"), trainer, alike)
        _check_resuming(checkpoint, module)
        _check_optimizer(checkpoint, module)
    except UserError as error:
        raise UserError(
            f"checkpoint {path}: its training cannot be resumed ({error}); --init_from takes its "
            "weights alone"
        ) from None


def _check_counts(checkpoint: Mapping[str, Any]) -> None:
    for name in ("epoch", "global_step"):
        _check_form(0, checkpoint.get(name), name)
    version = checkpoint.get("pytorch-lightning_version")
    try:
        known = isinstance(version, str) and Version(version) >= OLDEST
    except InvalidVersion:
        known = False
    if not known:
        raise UserError(f"written by Lightning {quote(version)}; at least {OLDEST} is read")


def _shared(fresh: Any, saved: Any) -> Any:
    """Return the part of a new state whose keys the saved one has as well."""
    if not isinstance(fresh, dict) or not isinstance(saved, Mapping):
        return fresh
    return {key: _shared(value, saved[key]) for key, value in fresh.items() if key in saved}


def _check_callbacks(saved: Any, trainer: Trainer, alike: bool) -> None:
    _check_form({}, saved, "callbacks")
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        state, key = callback.state_dict(), callback.state_key
        if key not in saved:  # of an earlier release
            key = callback._legacy_state_key
        # a user's own may take up what an earlier one of it kept
        known = type(callback).__module__.startswith(("lightning.", "dreamprvr."))
        if not state or key not in saved or not known:
            continue
        name = f"callbacks.{type(callback).__name__}"
        if "time_elapsed" in state:  # seconds of a timer, which starts at a whole number
            state["time_elapsed"] = dict.fromkeys(state["time_elapsed"], 0.0)
        _check_form(state if alike else _shared(state, saved[key]), saved[key], name)
        for entry in state.keys() & ENTRIES.keys() & saved[key].keys():
            for value in saved[key][entry].values():
                if not isinstance(value, ENTRIES[entry]):
                    raise UserError(f"{name}.{entry} holds {quote(value)}")


def _check_resuming(checkpoint: Mapping[str, Any], module: PRVRModule) -> None:
    """Check what `callbacks.resuming` keeps; earlier releases kept less of it."""
    _check_form(False, checkpoint.get("should_stop", False), "should_stop")
    parameters = {name: p.detach() for name, p in module.named_parameters()}
    states = checkpoint.get(RANDOM_STATE, [])
    _check_form([], states, RANDOM_STATE)
    for state in states:
        _check_form({"cpu": torch.get_rng_state()}, state, RANDOM_STATE)
        try:
            torch.Generator().set_state(state["cpu"].clone())
        except RuntimeError:
            raise UserError(f"{RANDOM_STATE}.cpu is no state of a generator") from None
        gradients = state.get("gradients", {})
        _check_form({}, gradients, "gradients")
        fresh = {name: parameters[name] for name in gradients if name in parameters}
        _check_form(fresh, gradients, "gradients")
    places = checkpoint["loops"]["fit_loop"]["state_dict"].get("combined_loader", [])
    _check_form([], places, "combined_loader")
    for place in places:
        _check_form({"seed": 0, "epoch": 0, "batches": 0}, place, "combined_loader")


def _check_optimizer(checkpoint: Mapping[str, Any], module: PRVRModule) -> None:
    """Compare the states of optimiser and schedule with those of new ones."""
    optimizer = module.make_optimizer(module.network.parameter_groups())
    fresh = {"state": {}, "param_groups": optimizer.state_dict()["param_groups"]}
    saved: Any = checkpoint.get("optimizer_states")
    _check_form([fresh], saved, "optimizer_states", same_length=True)
    _check_moments(saved[0]["state"], optimizer, bool(checkpoint["global_step"]))
    schedule = warmup_linear_schedule(optimizer, 1, module.warmup).state_dict()
    _check_form([schedule], checkpoint.get("lr_schedulers"), "lr_schedulers", same_length=True)


def _check_moments(saved: Mapping[Any, Any], optimizer: Optimizer, has_stepped: bool) -> None:
    kind = type(optimizer).__name__
    needed = MOMENTS.get(kind, set())
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    if needed and has_stepped and not saved:
        raise UserError("optimizer_states holds none")
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
            raise UserError(f"{name} has no {missing[0]}: it is of another optimiser than {kind}")
        for key in needed:
            _check_form(parameters[index].detach(), state[key], f"{name}.{key}")


def _check_form(fresh: Any, saved: Any, name: str, same_length: bool = False) -> None:
    """Refuse a value of another form than the one that a new training has in its place.

    Args:
        fresh: the value of a new training.
        saved: the value of the checkpoint. A dictionary has at least the same keys, and numbers are
            finite where the new ones are; counts are not negative.
        name: where the value stands, for the message.
        same_length: lists are as long as the new ones, and so are all lists within.

    Raises:
        UserError: names the first value that differs.
    """
    if isinstance(fresh, dict):
        _check_dict(fresh, saved, name, same_length)
    elif isinstance(fresh, (list, tuple)):
        if not isinstance(saved, (list, tuple)) or (same_length and len(saved) != len(fresh)):
            raise UserError(
                f"{name} is not a list of {len(fresh)}" if same_length else f"{name} is no list"
            )
        for number, pair in enumerate(zip(fresh, saved, strict=False)):
            _check_form(*pair, f"{name}.{number}", same_length)
    elif isinstance(fresh, Tensor):
        # the best value so far may be of another precision than the one that stands for none
        is_number = fresh.ndim == 0 and isinstance(saved, Tensor) and saved.is_floating_point()
        kind = saved.dtype if is_number else fresh.dtype
        if not isinstance(saved, Tensor) or saved.shape != fresh.shape or saved.dtype != kind:
            raise UserError(f"{name} is no tensor of {tuple(fresh.shape)}, {fresh.dtype}")
        if fresh.isfinite().all() and not saved.isfinite().all():
            raise UserError(f"{name} is not finite")
    elif not _is_like(fresh, saved):
        raise UserError(f"{name} is missing" if saved is None else f"{name} is {quote(saved)}")


def _check_dict(fresh: dict[Any, Any], saved: Any, name: str, same_length: bool) -> None:
    if not isinstance(saved, Mapping):
        raise UserError(f"{name} is missing" if saved is None else f"{name} is no dictionary")
    for key, value in fresh.items():
        if key not in saved:
            raise UserError(f"{name}.{key} is missing")
        _check_form(value, saved[key], f"{name}.{key}", same_length)


def _is_like(fresh: Any, saved: Any) -> bool:
    """Return whether a plain value can take the place of another."""
    if fresh is None:
        return not isinstance(saved, (Mapping, list, tuple))
    if isinstance(fresh, bool) or isinstance(saved, bool):
        return isinstance(fresh, bool) and isinstance(saved, bool)
    if isinstance(fresh, int):
        return isinstance(saved, int) and min(fresh, 0) <= saved < 1 << 62
    if isinstance(fresh, float):
        finite = isinstance(saved, (int, float)) and abs(saved) < 1e30 and not math.isnan(saved)
        return finite
    return isinstance(saved, str) if isinstance(fresh, str) else True
