"""The contents of a batch: the contract between data and models.

Batches are named tuples, since Lightning (moving to a device) and torch (pinning memory) both walk
through them. Shapes: B videos, Q queries, F and E the sizes of video and text features, M_c clips,
M_f frames, L words. The row of a video or query is its position in the tables of its split.
"""

from typing import NamedTuple

from torch import Tensor


class Videos(NamedTuple):
    """B videos, pooled, normalised and padded (docs/model.md, section 1)."""

    row: Tensor  # (B,) int64
    clips: Tensor  # (B, M_c, F)
    frames: Tensor  # (B, M_f, F), zero after the video's end
    frame_mask: Tensor  # (B, M_f) float, 1 for a frame and 0 for padding


class Queries(NamedTuple):
    """Q captions, normalised and padded to the longest of the batch."""

    row: Tensor  # (Q,) int64
    words: Tensor  # (Q, L, E), zero after the caption's end
    word_mask: Tensor  # (Q, L) float, 1 for a word and 0 for padding
    positives: Tensor  # (Q, P) int64, rows of the true videos, padded with -1


class TrainBatch(NamedTuple):
    """Videos with all their captions; `labels[q]` is the position in the batch of q's video."""

    videos: Videos
    queries: Queries
    labels: Tensor  # (Q,) int64 in [0, B), sorted
