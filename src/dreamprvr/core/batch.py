"""The contract between data and model: what a batch holds.

Named tuples, because both Lightning (device transfer) and torch (pinned memory) walk them.
B videos, Q queries, F and E the video and text feature sizes; M_c clips, M_f frames, L words.
A video's or query's row is its place in the tables of its split.
"""

from typing import NamedTuple

from torch import Tensor


class Videos(NamedTuple):
    """B videos, pooled, normalised and padded (docs/model.md, section 1)."""

    row: Tensor  # (B,) int64, the videos' rows
    clips: Tensor  # (B, M_c, F)
    frames: Tensor  # (B, M_f, F), zero after the video's end
    frame_mask: Tensor  # (B, M_f) float, 1 for a frame and 0 for padding


class Queries(NamedTuple):
    """Q captions, normalised and padded to the longest of the batch."""

    row: Tensor  # (Q,) int64, the queries' rows
    words: Tensor  # (Q, L, E), zero after the caption's end
    word_mask: Tensor  # (Q, L) float, 1 for a word and 0 for padding
    positives: Tensor  # (Q, P) int64, rows of the true videos, padded with -1


class TrainBatch(NamedTuple):
    """Videos with all captions of each; `labels[q]` is the position in the batch of q's video."""

    videos: Videos
    queries: Queries
    labels: Tensor  # (Q,) int64 in [0, B), sorted
