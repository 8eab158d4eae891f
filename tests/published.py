"""A sample checkpoint in the authors' format, and changed copies of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from shared import REFERENCE

from dreamprvr.models.dreamprvr.published import FORMAT
from dreamprvr.training.published_checkpoint import _load

SAMPLE = REFERENCE / "published_format.ckpt"


def variant(path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Write a changed copy of the sample, without its optimizer."""
    content = _load(SAMPLE, FORMAT)
    del content["optimizer"]
    change(content)
    torch.save(content, path)
    return path
