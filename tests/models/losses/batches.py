"""Encoded batches of given vectors, for tests of loss terms."""

import torch
from torch import Tensor

from dreamprvr.models.encoded import (
    PADDED,
    EncodedBatch,
    EncodedQueries,
    EncodedVideos,
    QueryRows,
    Scale,
    map_tensors,
)


def encoded(query: Tensor, clips: Tensor, frames: Tensor, labels: Tensor) -> EncodedBatch:
    """Make the batch of one vector for each query, and of clip and frame tokens."""
    rows = QueryRows(query[:, None], query.new_ones(len(query), 1))
    queries = EncodedQueries(query, {"clips": rows, "frames": rows}, {})
    return EncodedBatch(
        queries, EncodedVideos({"clips": Scale(clips), "frames": Scale(frames)}, {}), labels
    )


def padded(batch: EncodedBatch, count: int) -> EncodedBatch:
    """Add padded queries, which repeat the first ones."""
    queries = map_tensors(lambda x: torch.cat([x, x[:count]]), batch.queries)
    labels = torch.cat([batch.labels, torch.full((count,), PADDED)])
    return batch._replace(queries=queries, labels=labels)
