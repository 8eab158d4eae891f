"""The encoded forms of videos, queries and batches, which scores and losses take."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from dreamprvr.core.distributed import gather_rows, is_distributed, sizes_of_ranks

Padding = Literal["zero", "ignore"]
PADDED = -1  # label of a padded query of a batch; no loss term counts it


class Scale(NamedTuple):
    """The tokens of B videos at one scale, such as `clips` or `frames`."""

    tokens: Tensor  # (B, M, D); rows of padding are zero
    mask: Tensor | None = None  # (B, M), 1 for a token and 0 for padding; None if all are tokens


class QueryRows(NamedTuple):
    """The W rows of each of Q queries that are compared with the tokens of one scale."""

    vectors: Tensor  # (Q, W, D)
    weights: Tensor  # (Q, W), weight of each row's best cosine in the score; 0 for a padded row
    product_weights: Tensor | None = None  # (Q, W), those of the NCE's products; None: the same


class EncodedVideos(NamedTuple):
    """B videos after encoding."""

    scales: dict[str, Scale]  # by the name of the scale
    extras: dict[str, Tensor]  # by name, (B, ...) each; the loss, `rescore` or a library needs them


class EncodedQueries(NamedTuple):
    """Q queries after encoding."""

    embedding: Tensor  # (Q, D), one vector for each query
    rows: dict[str, QueryRows]  # by the name of the scale
    extras: dict[str, Tensor]  # by name, (Q, ...) each; the loss or `rescore` needs them


class EncodedBatch(NamedTuple):
    """A training batch after encoding: everything that a loss may look at."""

    queries: EncodedQueries
    videos: EncodedVideos
    labels: Tensor  # (Q,), the position of each query's video in the batch, or `PADDED`


def map_tensors(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    """Apply a function to every tensor in nested dictionaries and tuples; the rest stays."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, dict):
        return {name: map_tensors(function, item) for name, item in value.items()}
    if isinstance(value, tuple):
        items = [map_tensors(function, item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    return value


def join_tensors(values: Sequence[Any]) -> Any:
    """Concatenate nested dictionaries and tuples of tensors along the first axis.

    Args:
        values: at least one; all of the same form.
    """
    first = values[0]
    if isinstance(first, Tensor):
        return torch.cat(list(values))
    if isinstance(first, dict):
        return {name: join_tensors([value[name] for value in values]) for name in first}
    if isinstance(first, tuple):
        items = [join_tensors(parts) for parts in zip(*values, strict=True)]
        return type(first)(*items) if hasattr(first, "_fields") else tuple(items)
    return first


def gather_encoded(batch: EncodedBatch) -> EncodedBatch:
    """Join the batches of all processes, so that each computes the loss of all.

    All processes have the same number of videos. Their numbers of queries differ, and so may the
    numbers of words of their longest captions; these sizes are exchanged first, all at once.
    """
    if not is_distributed():
        return batch
    count = len(next(iter(batch.videos.scales.values())).tokens)
    own = [len(batch.labels)]

    def note_width(x: Tensor) -> Tensor:
        own.append(_width(x))
        return x

    map_tensors(note_width, batch.queries)
    queries, *widths = sizes_of_ranks(own, batch.labels.device)
    longest = iter([max(of_ranks) for of_ranks in widths])
    videos = [count] * dist.get_world_size()
    return EncodedBatch(
        map_tensors(lambda x: gather_rows(_widen(x, next(longest)), queries), batch.queries),
        map_tensors(lambda x: gather_rows(x, videos), batch.videos),
        gather_rows(batch.labels + dist.get_rank() * count, queries),
    )


def _width(x: Tensor) -> int:
    """Return the size of the second axis, 0 if there is none."""
    return x.shape[1] if x.dim() > 1 else 0


def _widen(x: Tensor, width: int) -> Tensor:
    """Pad the second axis with zeros, up to a width."""
    if width == _width(x):
        return x
    return F.pad(x, (*(0, 0) * (x.dim() - 2), 0, width - x.shape[1]))
