"""The sample of the authors' format, and changed copies of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from shared import REFERENCE

from dreamprvr.models.dreamprvr.published import FORMAT
from dreamprvr.training.published_checkpoint import _load

SAMPLE = REFERENCE / "published_format.ckpt"


def variant(path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """The sample without its optimizer, changed and written anew."""
    content = _load(SAMPLE, FORMAT)
    del content["optimizer"]
    change(content)
    torch.save(content, path)
    return path
