"""The model of a library: of a training checkpoint, what search needs of it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dreamprvr.core.errors import UserError
from dreamprvr.core.files import atomic_path
from dreamprvr.models.contract import RetrievalModel
from dreamprvr.training.checkpoint import (
    PROVENANCE,
    Provenance,
    read_checkpoint,
    read_provenance,
    trained_model,
)

KEPT = ("model", "video_dim", "text_dim", "network", "objective", *PROVENANCE)


class ModelFile(NamedTuple):
    """A model, and what it was trained on. `digest` tells models apart."""

    network: RetrievalModel
    video_dim: int
    text_dim: int
    provenance: Provenance
    digest: str


def read_model(path: Path) -> ModelFile:
    """The model of a checkpoint, or of a library's own file.

    Raises:
        UserError: see `read_checkpoint`.
    """
    checkpoint = read_checkpoint(path)
    found = trained_model(checkpoint, path)
    kept = _kept(checkpoint)
    try:
        digest = _digest(kept, found.weights)
    except (TypeError, ValueError):
        raise UserError(f"checkpoint {path}: it says wrongly what it was trained on") from None
    return ModelFile(found.build(), found.video_dim, found.text_dim, read_provenance(kept), digest)


def write_model(source: Path, target: Path) -> None:
    """Keep of a checkpoint the network's weights and its settings, nothing of the training."""
    checkpoint = read_checkpoint(source)
    state = {name: weight.clone() for name, weight in checkpoint["state_dict"].items()}
    with atomic_path(target) as partial:
        torch.save({"hyper_parameters": _kept(checkpoint), "state_dict": state}, partial)


def _kept(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    hparams = checkpoint["hyper_parameters"]
    return {name: hparams[name] for name in KEPT if name in hparams}


def _digest(hparams: Mapping[str, Any], weights: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(hparams, sort_keys=True, default=list).encode())
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
