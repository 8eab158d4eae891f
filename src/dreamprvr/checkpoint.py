"""Checkpoints of this framework: read as data, and checked before anything is made of them."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dreamprvr.core.text import quote, shorten
from dreamprvr.errors import UserError
from dreamprvr.model.config import NetworkConfig
from dreamprvr.model.network import DreamPRVR
from dreamprvr.torch_file import read_torch_file

PREFIX = "network."  # of the network's weights in a checkpoint
FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
LISTED = 5  # names of each kind that a message gives
_LENGTHS = ("hidden_size", "num_clips", "max_frames", "max_words", "num_registers")


class Trained(NamedTuple):
    """A trained network, not yet built.

    Args:
        video_dim: size of a video feature.
        text_dim: size of a word feature.
        config: the network's settings.
        weights: its state, by the names of `DreamPRVR.state_dict`; exactly those that it has.
    """

    video_dim: int
    text_dim: int
    config: NetworkConfig
    weights: dict[str, Tensor]


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint of this framework and check all that it needs for use.

    A file that comes back is whole: every record has its checksum, and the weights are finite and
    exactly those of the network that the settings describe.

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
    trained_network(content, path)
    return content


def newest_whole(path: Path) -> Path | None:
    """Find the newest whole checkpoint beside one that is damaged.

    Args:
        path: the damaged one; it may be missing.
    """
    with suppress(OSError):
        others = [other for other in path.parent.glob("*.ckpt") if other != path]
        for other in sorted(others, key=lambda file: file.stat().st_mtime, reverse=True):
            with suppress(UserError):
                read_checkpoint(other)
                return other
    return None


def trained_network(checkpoint: Mapping[str, Any], path: str | Path) -> Trained:
    """Take the network's settings and weights out of a checkpoint, and check both.

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
        config = _network_config(settings.get("network"))
        video_dim, text_dim = (_feature_size(settings, name) for name in ("video_dim", "text_dim"))
    except UserError as error:
        raise UserError(f"checkpoint {path}: its settings make no network ({error})") from None
    names = [name if isinstance(name, str) else f"a {type(name).__name__}" for name in state]
    if strangers := [name for name in names if not name.startswith(PREFIX)]:
        raise UserError(f"checkpoint {path} holds weights of another model: {listed(strangers)}")
    weights = {name.removeprefix(PREFIX): weight for name, weight in state.items()}
    check_weights(weights, f"checkpoint {path}", Path(path).stat().st_size)
    if found := disagreements(video_dim, text_dim, config, weights):
        raise UserError(
            f"checkpoint {path}: its weights are not those of its settings ({'; '.join(found)})"
        )
    return Trained(video_dim, text_dim, config, weights)


def _network_config(settings: Any) -> NetworkConfig:
    if not isinstance(settings, Mapping):
        raise UserError("there are none for the network")
    known = {field.name for field in fields(NetworkConfig)}
    if unknown := [quote(name) for name in settings if name not in known]:
        raise UserError(f"unknown: {listed(unknown)}")
    return NetworkConfig(**settings)


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


def disagreements(
    video_dim: int, text_dim: int, config: NetworkConfig, weights: Mapping[str, Tensor]
) -> list[str]:
    """Compare weights with those that settings ask for; nothing is allocated.

    Args:
        video_dim: size of a video feature.
        text_dim: size of a word feature.
        config: the network's settings.
        weights: by the names of `DreamPRVR.state_dict`.

    Returns:
        As `differences`; a setting that is larger than any weight stands alone. No network is
        made of such settings, not even an empty one, which could take for ever.
    """
    longest = max((size for weight in weights.values() for size in weight.shape), default=0)
    asked = {name: (getattr(config, name), longest) for name in _LENGTHS}
    asked |= {"video_dim": (video_dim, longest), "text_dim": (text_dim, longest)}
    asked["gaussian_widths"] = len(config.gaussian_widths), len(weights)
    if config.num_registers:
        asked["diffusion_steps"] = config.diffusion_steps, longest
        asked["denoiser_blocks"] = config.denoiser_blocks, len(weights)
    for name, (value, most) in asked.items():
        if value > most:
            return [f"{name} {value} is more than any weight has"]
    with torch.device("meta"):
        expected = DreamPRVR(video_dim, text_dim, config).state_dict()
    return differences(expected, weights)


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
