"""Read the published sizes and settings, and make random features of these sizes."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.baseline.network import Baseline
from dreamprvr.core.batch import Queries, TrainBatch, Videos
from dreamprvr.core.yaml_text import load_yaml
from dreamprvr.models.dreamprvr.config import DreamPRVRConfig, ObjectiveConfig
from dreamprvr.models.dreamprvr.network import DreamPRVR

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
# sizes of a video's and a word's feature; the data modules have them too, but need more packages
FEATURES = {
    "tvr": (3072, 768),
    "activitynet": (1024, 1024),
    "charades": (1024, 1024),
    "synthetic": (128, 96),
}
SHORTEST_VIDEO = 60  # frames; the longest has 128
WORDS = (15, 20)  # smallest and largest number of words of a caption


class Settings(NamedTuple):
    """Settings of a training step: feature sizes, network, loss and optimiser."""

    video_dim: int
    text_dim: int
    network: DreamPRVRConfig
    objective: ObjectiveConfig
    lr: float
    weight_decay: float
    warmup: float


def settings(name: str) -> Settings:
    """Read the settings of a shipped configuration.

    Args:
        name: name of its file without the ending.
    """
    path = CONFIGS / f"{name}.yaml"
    content = load_yaml(path.read_text(encoding="utf-8"), path.name)
    model, training = content["model"]["init_args"], content["training"]
    network: dict[str, Any] = dict(model["network"])
    if "gaussian_widths" in network:
        network["gaussian_widths"] = tuple(network["gaussian_widths"])
    return Settings(
        *FEATURES[name],
        DreamPRVRConfig(**network),
        ObjectiveConfig(**model["objective"]),
        training["optimizer"]["init_args"]["lr"],
        training["optimizer"]["init_args"]["weight_decay"],
        training["warmup"],
    )


def pair(chosen: Settings, seed: int = 0) -> tuple[DreamPRVR, Baseline]:
    """Make the product's network and the baseline's with the same weights."""
    torch.manual_seed(seed)
    sizes = (chosen.video_dim, chosen.text_dim, chosen.network)
    product, baseline = DreamPRVR(*sizes, chosen.objective), Baseline(*sizes)
    baseline.load_state_dict(product.state_dict())
    return product, baseline


def _ragged(lengths: Tensor, longest: int, size: int, random: torch.Generator) -> Any:
    """Make rows (N, longest, size) of unit length, with zeros after each item's end, and a mask."""
    mask = (torch.arange(longest) < lengths[:, None]).float()
    rows = torch.randn(len(lengths), longest, size, generator=random)
    return F.normalize(rows, dim=-1).mul_(mask[..., None]), mask


def videos(chosen: Settings, number: int, seed: int = 0) -> Videos:
    """Make random videos, each with at least about half of the largest number of frames."""
    random, config = torch.Generator().manual_seed(seed), chosen.network
    shortest = max(1, min(SHORTEST_VIDEO, config.max_frames // 2))
    lengths = torch.randint(shortest, config.max_frames + 1, (number,), generator=random)
    clips = torch.randn(number, config.num_clips, chosen.video_dim, generator=random)
    frames, mask = _ragged(lengths, config.max_frames, chosen.video_dim, random)
    return Videos(torch.arange(number), F.normalize(clips, dim=-1), frames, mask)


def queries(chosen: Settings, labels: Tensor, seed: int = 0) -> Queries:
    """Make random captions, padded to the longest; `labels` (Q,) are the rows of their videos."""
    random = torch.Generator().manual_seed(seed)
    lengths = torch.randint(WORDS[0], WORDS[1] + 1, (len(labels),), generator=random)
    lengths = lengths.clamp(max=chosen.network.max_words)
    words, mask = _ragged(lengths, int(lengths.max()), chosen.text_dim, random)
    return Queries(torch.arange(len(labels)), words, mask, labels[:, None])


def train_batch(chosen: Settings, number: int, captions: int, seed: int = 0) -> TrainBatch:
    """Make a batch of random videos, each with the same number of captions."""
    labels = torch.arange(number).repeat_interleave(captions)
    return TrainBatch(videos(chosen, number, seed), queries(chosen, labels, seed + 1), labels)
