"""What a model makes of videos, queries and batches; scores and losses take it."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from dreamprvr.core.distributed import gather_rows, is_distributed, rows_of_ranks

Padding = Literal["zero", "ignore"]
PADDED = -1  # label of a padded row among the queries of a batch; no loss term counts it


class Scale(NamedTuple):
    """The tokens of B videos at one scale, such as `clips` or `frames`."""

    tokens: Tensor  # (B, M, D); rows of padding are zero
    mask: Tensor | None = None  # (B, M), 1 for a token and 0 for padding; None if all are tokens


class QueryRows(NamedTuple):
    """What Q queries ask one scale: W rows each, whose best cosines are added up by weight."""

    vectors: Tensor  # (Q, W, D)
    weights: Tensor  # (Q, W), 0 for a padded row


class EncodedVideos(NamedTuple):
    """B videos."""

    scales: dict[str, Scale]
    extras: dict[str, Tensor]  # (B, ...) each, for the loss, `rescore` or the library


class EncodedQueries(NamedTuple):
    """Q queries."""

    embedding: Tensor  # (Q, D), one vector a query
    rows: dict[str, QueryRows]  # by scale
    extras: dict[str, Tensor]  # (Q, ...) each, for the loss or `rescore`


class EncodedBatch(NamedTuple):
    """A training batch after encoding: all that a loss may look at."""

    queries: EncodedQueries
    videos: EncodedVideos
    labels: Tensor  # (Q,), the position of each query's video, or `PADDED`


def map_tensors(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    """Apply a function to every tensor in nested dictionaries and tuples; None stays None."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, dict):
        return {name: map_tensors(function, item) for name, item in value.items()}
    if isinstance(value, tuple):
        items = [map_tensors(function, item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    return value


def join_tensors(values: Sequence[Any], dim: int = 0) -> Any:
    """Concatenate nested dictionaries and tuples of tensors, all of one form, along an axis."""
    first = values[0]
    if isinstance(first, Tensor):
        return torch.cat(list(values), dim)
    if isinstance(first, dict):
        return {name: join_tensors([value[name] for value in values], dim) for name in first}
    if isinstance(first, tuple):
        items = [join_tensors(parts, dim) for parts in zip(*values, strict=True)]
        return type(first)(*items) if hasattr(first, "_fields") else tuple(items)
    return first


def gather_encoded(batch: EncodedBatch) -> EncodedBatch:
    """Join the batch of all ranks, so that every rank computes the loss of all.

    Every rank has as many videos. Only the numbers of queries differ, so they alone are asked for.
    """
    if not is_distributed():
        return batch
    count = len(next(iter(batch.videos.scales.values())).tokens)
    queries, videos = (
        rows_of_ranks(batch.queries.embedding),
        [count for _ in range(dist.get_world_size())],
    )
    return EncodedBatch(
        map_tensors(lambda x: gather_rows(x, queries), batch.queries),
        map_tensors(lambda x: gather_rows(x, videos), batch.videos),
        gather_rows(batch.labels + dist.get_rank() * count, queries),
    )
