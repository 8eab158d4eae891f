"""Checkpoints of tiny networks for the features of `search.libraries`."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from models.tiny import CONFIG, stir
from search.libraries import DIM, TEXT_DIM, WordEncoder

from dreamprvr.models.contract import RetrievalModel
from dreamprvr.models.dreamprvr.network import DreamPRVR
from dreamprvr.models.registry import class_path


def network(seed: int = 0, **changes: Any) -> DreamPRVR:
    """Sections of 8 frames, 4 clips, 2 registers."""
    torch.manual_seed(seed)
    made = DreamPRVR(DIM, TEXT_DIM, replace(CONFIG, **changes))
    stir(made)
    return made.eval()


def checkpoint(
    path: Path,
    seed: int = 0,
    fingerprint: str | None = WordEncoder.fingerprint,
    made: RetrievalModel | None = None,
    **changes: Any,
) -> Path:
    """As a training writes it; `changes` are hyper-parameters, beside those of the network."""
    hparams: dict[str, Any] = {"top_k": 3}
    if made is None:
        made = network(seed)
        hparams |= {"video_dim": DIM, "text_dim": TEXT_DIM, "network": asdict(made.config)}
    else:
        hparams |= {"model": class_path(type(made)), **made.settings()}
    if fingerprint is not None:
        hparams["feature_fingerprint"] = fingerprint
    state = {f"network.{name}": weight for name, weight in made.state_dict().items()}
    content = {"hyper_parameters": {**hparams, **changes}, "state_dict": state, "epoch": 3}
    torch.save(content, path)
    return path
