"""Checkpoints of this framework: read as data, and checked before anything is made of them."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dreamprvr.core.errors import UserError
from dreamprvr.core.text import shorten
from dreamprvr.core.torch_file import read_torch_file
from dreamprvr.models.contract import RetrievalModel
from dreamprvr.models.registry import DEFAULT, class_path, find_model, read_model_settings

PREFIX = "network."  # of the network's weights in a checkpoint
FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
LISTED = 5  # names of each kind that a message gives


class Trained(NamedTuple):
    """A trained model, not yet built.

    Args:
        kind: class of the model.
        video_dim: size of a video feature.
        text_dim: size of a word feature.
        network: settings of the network.
        objective: settings of the loss.
        weights: its state, by the names of its `state_dict`; exactly those that it has.
    """

    kind: type[RetrievalModel]
    video_dim: int
    text_dim: int
    network: Any
    objective: Any
    weights: dict[str, Tensor]

    def build(self) -> RetrievalModel:
        """Make the model, with these weights."""
        model = self.kind(self.video_dim, self.text_dim, self.network, self.objective)
        model.load_state_dict(self.weights)
        return model

    def settings(self) -> dict[str, Any]:
        """The settings as builtins, as a checkpoint holds them."""
        return {
            "model": class_path(self.kind),
            "video_dim": self.video_dim,
            "text_dim": self.text_dim,
            "network": asdict(self.network),
            "objective": asdict(self.objective),
        }


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint of this framework and check all that it needs for use.

    A file that comes back is whole: every record has its checksum, and the weights are finite and
    exactly those of the model that the settings describe.

    Args:
        path: the file.

    Returns:
        What was saved: `hyper_parameters`, `state_dict`, and the training's state if it is kept.
        The tensors stay in the file, mapped into memory.

    Raises:
        UserError: there is no such file, it cannot be read, it is damaged, it was not written by
            this framework, or its settings and weights do not agree. Names the file.
    """
    path = Path(path)
    content = read_torch_file(path)
    if not isinstance(content, dict) or "hyper_parameters" not in content:
        raise UserError(
            f"checkpoint {path} was not written by this framework; a checkpoint that the authors "
            "released is read by `lightning import-checkpoint`"
        )
    trained_model(content, path)
    return content


def newest_whole(path: Path) -> Path | None:
    """Find the newest whole checkpoint of the run that a damaged one belongs to.

    Args:
        path: the damaged file.

    Returns:
        None where there is no whole one, and where the file lies in no run's folder of checkpoints:
        what lies beside it then may have nothing to do with it.
    """
    if path.parent.name != "checkpoints" or not (path.parent.parent / "config.yaml").exists():
        return None
    with suppress(OSError):
        others = [other for other in path.parent.glob("*.ckpt") if other != path]
        for other in sorted(others, key=lambda file: file.stat().st_mtime, reverse=True):
            with suppress(UserError):
                read_checkpoint(other)
                return other
    return None


def trained_model(checkpoint: Mapping[str, Any], path: str | Path) -> Trained:
    """Take the model's settings and weights out of a checkpoint, and check both.

    Args:
        checkpoint: content of the file.
        path: the file, for messages and for its size.

    Raises:
        UserError: a setting or a weight is missing, of another type or not finite, or the weights
            are not those of the settings. Nothing of their size is allocated to find out.
    """
    settings, state = checkpoint["hyper_parameters"], checkpoint.get("state_dict")
    if not isinstance(settings, Mapping) or not isinstance(state, Mapping):
        raise UserError(f"checkpoint {path} holds no weights of this framework")
    try:
        kind = find_model(str(settings.get("model", DEFAULT)))
        network, objective = read_model_settings(kind, settings)
        video_dim, text_dim = (_feature_size(settings, name) for name in ("video_dim", "text_dim"))
    except UserError as error:
        raise UserError(f"checkpoint {path}: its settings make no network ({error})") from None
    names = [name if isinstance(name, str) else f"a {type(name).__name__}" for name in state]
    if strangers := [name for name in names if not name.startswith(PREFIX)]:
        raise UserError(f"checkpoint {path} holds weights of another model: {listed(strangers)}")
    weights = {name.removeprefix(PREFIX): weight for name, weight in state.items()}
    check_weights(weights, f"checkpoint {path}", Path(path).stat().st_size)
    trained = Trained(kind, video_dim, text_dim, network, objective, weights)
    if found := disagreements(trained):
        raise UserError(
            f"checkpoint {path}: its weights are not those of its settings ({'; '.join(found)})"
        )
    return trained


def _feature_size(settings: Mapping[str, Any], name: str) -> int:
    size = settings.get(name)
    if isinstance(size, bool) or not isinstance(size, int):
        raise UserError(f"{name} is missing or no whole number")
    if not 0 < size < 1 << 31:
        raise UserError(f"{name} is not the size of a feature")
    return size


def check_weights(weights: Mapping[str, Any], source: str, size: int) -> None:
    """Refuse weights that no file of this size can hold, or that no network computes with.

    Args:
        weights: tensors by name, or what stands in their place.
        source: where they come from, for messages.
        size: bytes of the file.

    Raises:
        UserError: names those that are no tensors in memory, not of floating point, not finite, or
            larger than the file.
    """
    tests: dict[str, Callable[[Any], bool]] = {
        "are no plain tensors": lambda weight: not _is_plain(weight),
        "are not of floating point": lambda weight: weight.dtype not in FLOATS,
        "claim to be larger than the file": lambda weight: weight.nbytes > size,
        "are not finite": lambda weight: not weight.isfinite().all(),
    }
    for kind, is_wrong in tests.items():
        if names := [name for name, weight in weights.items() if is_wrong(weight)]:
            raise UserError(f"{source}: {len(names)} weights {kind}: {listed(names)}")
    if sum(weight.nbytes for weight in weights.values()) > size:
        raise UserError(f"{source}: its weights claim to be larger than the file")


def _is_plain(weight: Any) -> bool:
    return (
        isinstance(weight, Tensor)
        and weight.layout is torch.strided
        and weight.device.type == "cpu"
        and not weight.is_quantized
        and not weight.is_nested
    )


def disagreements(trained: Trained) -> list[str]:
    """Compare weights with those that settings ask for; nothing is allocated.

    Args:
        trained: settings and weights.

    Returns:
        As `differences`; a setting that is larger than any weight stands alone. No network is
        made of such settings, not even an empty one, which could take for ever.
    """
    shapes = [weight.shape for weight in trained.weights.values()]
    most = max([len(shapes), *(size for shape in shapes for size in shape)])
    asked = {"video_dim": trained.video_dim, "text_dim": trained.text_dim}
    for field in fields(trained.network):
        value = getattr(trained.network, field.name)
        if isinstance(value, int) and not isinstance(value, bool):
            asked[field.name] = value
        elif isinstance(value, tuple):
            asked[field.name] = len(value)
    for name, value in asked.items():
        if value > most:
            return [f"{name} {value} is more than any weight has"]
    with torch.device("meta"):
        model = trained.kind(
            trained.video_dim, trained.text_dim, trained.network, trained.objective
        )
    return differences(model.state_dict(), trained.weights)


def differences(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> list[str]:
    """What is missing from, extra in, or of another size in `theirs`; empty if nothing is."""
    resized = [
        f"{name} is {tuple(theirs[name].shape)}, not {tuple(ours[name].shape)}"
        for name in ours
        if name in theirs and ours[name].shape != theirs[name].shape
    ]
    kinds = {
        "missing": [name for name in ours if name not in theirs],
        "extra": [name for name in theirs if name not in ours],
        "of another size": resized,
    }
    return [f"{len(names)} {kind}: {listed(names)}" for kind, names in kinds.items() if names]


def listed(names: list[str]) -> str:
    """The first names of a list, each cut to a length that can be read."""
    return ", ".join(map(shorten, names[:LISTED])) + (", ..." if names[LISTED:] else "")


def refuse_other_shapes(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> None:
    """Raise if the parameters differ in name or shape.

    Args:
        ours: of the model that is to take them.
        theirs: of a checkpoint.

    Raises:
        UserError: names what differs.
    """
    found = differences(ours, theirs)
    if found:
        raise UserError(
            f"the checkpoint belongs to another configuration ({'; '.join(found)}); give the "
            "--config it was trained with, and data of the same feature sizes"
        )
