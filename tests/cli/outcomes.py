"""Readers of the files that a run leaves on disk, and the values they should have."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from cli.running import Tiny
from shared import REFERENCE

from dreamprvr.evaluation.gallery import Gallery
from dreamprvr.models.dreamprvr.network import DreamPRVR

PUBLISHED = REFERENCE / "published_format.ckpt"
CONFIG = ("--config", "tiny.yaml")


def state(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["state_dict"]


TRAINING = ("state_dict", "optimizer_states", "lr_schedulers", "loops", "random_state")


def differences(first: Path, second: Path) -> list[str]:
    """List the places in which the training states of two checkpoints are not identical."""
    ours, theirs = (torch.load(path, weights_only=True) for path in (first, second))
    return [place for key in TRAINING for place in _different(ours[key], theirs[key], key)]


def _different(first: Any, second: Any, place: str) -> list[str]:
    if isinstance(first, torch.Tensor):
        return [] if torch.equal(first, second) else [place]
    if isinstance(first, list | tuple) and len(first) == len(second):
        first, second = dict(enumerate(first)), dict(enumerate(second))
    if isinstance(first, dict) and first.keys() == second.keys():
        return [d for key in first for d in _different(first[key], second[key], f"{place}.{key}")]
    return [] if first == second else [place]


def best(run_folder: Path) -> Path:
    return run_folder / "checkpoints" / "best.ckpt"


def losses(run_folder: Path) -> pd.DataFrame:
    table = pd.read_csv(run_folder / "metrics.csv")
    return table[[name for name in table if name.startswith(("loss", "train/", "val/"))]]


def answers(data: Tiny, network: DreamPRVR) -> tuple[torch.Tensor, list[str], list[str]]:
    """Return scores (Q, V) without the command line, and the ids of queries and videos."""
    gallery = Gallery(network.eval())
    videos, queries = data.test_dataloader()
    with torch.inference_mode():
        for batch in videos:
            gallery.add(batch)
        scores = torch.cat([gallery.ask(batch).score for batch in queries])
    table = data.annotations("test")
    return scores, table.queries["query_id"].tolist(), table.videos["video_id"].tolist()


def tiny(dataset: type[Tiny] = Tiny, frames: int = 8, clips: int = 4) -> Tiny:
    return dataset("data", num_workers=0, max_frames=frames, num_clips=clips)


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
