"""The model of a library: of a training checkpoint, what search needs of it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dreamprvr.checkpoint import read_checkpoint
from dreamprvr.checkpoint_shapes import refuse_other_shapes
from dreamprvr.core.files import atomic_path
from dreamprvr.errors import UserError
from dreamprvr.model.config import NetworkConfig
from dreamprvr.model.network import DreamPRVR
from dreamprvr.search.provenance import PROVENANCE, Provenance, read_provenance

PREFIX = "network."  # of the network's weights in a checkpoint
KEPT = ("video_dim", "text_dim", "network", *PROVENANCE)


class ModelFile(NamedTuple):
    """A network, and what it was trained on. `digest` tells models apart."""

    network: DreamPRVR
    video_dim: int
    text_dim: int
    provenance: Provenance
    digest: str


def read_model(path: Path) -> ModelFile:
    """The model of a checkpoint, or of a library's own file.

    Raises:
        UserError: not a checkpoint of this framework, or damaged.
    """
    checkpoint = read_checkpoint(path)
    hparams, weights = _parts(checkpoint, path)
    try:
        config = NetworkConfig(**hparams["network"])
        sizes = int(hparams["video_dim"]), int(hparams["text_dim"])
        network = DreamPRVR(*sizes, config)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"checkpoint {path}: its settings make no network ({error})") from None
    refuse_other_shapes(network.state_dict(), weights)
    network.load_state_dict(weights)
    return ModelFile(network, *sizes, read_provenance(hparams), _digest(hparams, weights))


def write_model(source: Path, target: Path) -> None:
    """Keep of a checkpoint the network's weights and its settings, nothing of the training."""
    hparams, weights = _parts(read_checkpoint(source), source)
    state = {PREFIX + name: weight.clone() for name, weight in weights.items()}
    with atomic_path(target) as partial:
        torch.save({"hyper_parameters": hparams, "state_dict": state}, partial)


def _parts(checkpoint: Mapping[str, Any], path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    hparams, state = checkpoint["hyper_parameters"], checkpoint.get("state_dict")
    if not isinstance(hparams, Mapping) or not isinstance(state, Mapping):
        raise UserError(f"checkpoint {path} holds no weights of this framework")
    kept = {name: hparams[name] for name in KEPT if name in hparams}
    weights = {
        str(name).removeprefix(PREFIX): weight
        for name, weight in state.items()
        if str(name).startswith(PREFIX) and isinstance(weight, Tensor)
    }
    return kept, weights


def _digest(hparams: Mapping[str, Any], weights: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(hparams, sort_keys=True, default=list).encode())
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
