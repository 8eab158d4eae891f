"""Reading checkpoints as data: tensors and builtins, no code."""

import pickle
from pathlib import Path
from typing import Any

import torch

from dreamprvr.errors import UserError


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """A checkpoint of this framework.

    Raises:
        UserError: there is no such file, it is not a checkpoint, or not one of ours.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"checkpoint {path}: no such file")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError:
        raise UserError(
            f"checkpoint {path} holds objects other than tensors and builtins; a checkpoint that "
            "the authors released is read by `lightning import-checkpoint`"
        ) from None
    except Exception:  # the unpickler raises anything when it reads a damaged file
        raise UserError(f"checkpoint {path} is damaged or not a checkpoint") from None
    if not isinstance(checkpoint, dict) or "hyper_parameters" not in checkpoint:
        raise UserError(
            f"checkpoint {path} was not written by this framework; a checkpoint that the authors "
            "released is read by `lightning import-checkpoint`"
        )
    return checkpoint
