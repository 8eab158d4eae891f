"""A network of a few thousand weights, and batches for it, made without any file."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from dreamprvr.core.batch import Queries, TrainBatch, Videos
from dreamprvr.models.dreamprvr.config import DreamPRVRConfig, ObjectiveConfig
from dreamprvr.models.dreamprvr.network import DreamPRVR
from dreamprvr.models.dreamprvr.registers import DiffusionRegisters

VIDEO_DIM, TEXT_DIM = 6, 5
CONFIG = DreamPRVRConfig(
    hidden_size=16,
    num_heads=2,
    num_clips=4,
    max_frames=8,
    max_words=5,
    num_registers=2,
    diffusion_steps=3,
    gaussian_widths=(0.25, 2.0),
    dropout=0.0,
    input_dropout=0.0,
    text_perturbation=0.0,
)


Module = TypeVar("Module", bound=nn.Module)


def stir(module: nn.Module) -> None:
    """Move every weight, so that none is so small or so regular that a test cannot see it."""
    generator = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.data += 0.3 * noise.to(parameter.dtype)


def frozen(module: Module) -> Module:
    """A part to compare with a slow reference: stirred, in float64, without gradients."""
    stir(module)
    return module.double().eval().requires_grad_(False)


def network(objective: ObjectiveConfig | None = None, **changes: Any) -> DreamPRVR:
    """Make a tiny model in float64, so that tests can be strict."""
    torch.manual_seed(0)
    loss = objective or ObjectiveConfig()
    model = DreamPRVR(VIDEO_DIM, TEXT_DIM, replace(CONFIG, **changes), loss)
    stir(model)
    return model.double()


def condition_of(sampler: DiffusionRegisters, clip_tokens: Tensor) -> Tensor:
    """Compute the condition c of the diffusion from the clips, step by step."""
    queries = sampler.query_tokens.expand(len(clip_tokens), -1, -1)
    condition: Tensor = sampler.conditioning(queries, context=sampler.summary(clip_tokens))
    return condition


def _padded(lengths: Sequence[int], longest: int, size: int) -> tuple[Tensor, Tensor]:
    mask = (torch.arange(longest) < torch.tensor(lengths)[:, None]).double()
    rows = torch.randn(len(lengths), longest, size, dtype=torch.float64)
    return rows * mask[..., None], mask


def batch(
    captions: Sequence[int] = (2, 3, 1),
    frames: Sequence[int] | None = None,
    words: Sequence[int] | None = None,
    num_clips: int = CONFIG.num_clips,
    max_frames: int = CONFIG.max_frames,
) -> TrainBatch:
    """Random features.

    Args:
        captions: number of captions of each video.
        frames: length of each video in frames.
        words: length of each caption in words.
        num_clips: clips of a video.
        max_frames: that the videos are padded to.
    """
    torch.manual_seed(2)
    videos, queries = len(captions), sum(captions)
    frames = frames or [1 + i % max_frames for i in range(4, 4 + videos)]
    words = words or [1 + i % CONFIG.max_words for i in range(queries)]
    labels = torch.repeat_interleave(torch.arange(videos), torch.tensor(captions))
    clips = torch.randn(videos, num_clips, VIDEO_DIM, dtype=torch.float64)
    padded = _padded(words, max(words), TEXT_DIM)
    return TrainBatch(
        Videos(torch.arange(videos), clips, *_padded(frames, max_frames, VIDEO_DIM)),
        Queries(torch.arange(queries), *padded, labels[:, None]),
        labels,
    )


def single(value: Any) -> Any:
    """Convert a module, a tensor or a (named) tuple of tensors to float32."""
    if isinstance(value, tuple):
        return type(value)(*map(single, value))
    return value.float() if isinstance(value, nn.Module) or value.is_floating_point() else value
