"""The contract between data and model: what a batch holds.

Named tuples, because both Lightning (device transfer) and torch (pinned memory) walk them.
B videos, Q queries, F and E the video and text feature sizes; M_c clips, M_f frames, L words.
"""

from typing import NamedTuple

from torch import Tensor


class Videos(NamedTuple):
    """B videos, pooled, normalised and padded (model.md, section 1)."""

    index: Tensor  # (B,) int64, row of the video in the split's table
    clips: Tensor  # (B, M_c, F)
    frames: Tensor  # (B, M_f, F), zero rows after the video's end
    frame_mask: Tensor  # (B, M_f) float, 1 for a frame and 0 for padding


class Queries(NamedTuple):
    """Q captions, normalised and padded to the longest of the batch."""

    index: Tensor  # (Q,) int64, row of the query in the split's table
    words: Tensor  # (Q, L, E), zero rows after the caption's end
    word_mask: Tensor  # (Q, L) float, 1 for a word and 0 for padding


class TrainBatch(NamedTuple):
    """Videos with all captions of each; `labels[q]` is the position in the batch of q's video."""

    videos: Videos
    queries: Queries
    labels: Tensor  # (Q,) int64 in [0, B), sorted
