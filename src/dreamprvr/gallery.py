"""The gallery of an evaluation: encoded once, then asked by every query."""

from typing import NamedTuple

import torch
from torch import Tensor

from dreamprvr.batch import Queries, Videos
from dreamprvr.distributed import gather_rows, is_distributed
from dreamprvr.model.network import DreamPRVR
from dreamprvr.model.scoring import VideoTokens


class Answer(NamedTuple):
    """Scores of Q queries against a gallery of V videos."""

    score: Tensor  # (Q, V)
    best_clip: Tensor  # (Q, V) int64
    best_frame: Tensor  # (Q, V) int64


class Gallery:
    """Normalised tokens of a split's videos, in the order of their rows.

    Args:
        network: encodes and scores.
    """

    def __init__(self, network: DreamPRVR) -> None:
        self.network = network
        self._parts: list[tuple[Tensor, VideoTokens]] = []
        self._encoded: tuple[Tensor, VideoTokens] | None = None

    def add(self, videos: Videos) -> None:
        """Encode a batch of videos."""
        encoding = self.network.encode_videos(videos.clips, videos.frames, videos.frame_mask)
        self._parts.append((videos.row, encoding.tokens.normalised()))

    def _tokens(self) -> tuple[Tensor, VideoTokens]:
        """Sorted rows (V,) and tokens of all videos, those of other processes included."""
        if self._encoded is None:
            rows, parts = zip(*self._parts, strict=True)
            row = torch.cat(rows)
            tokens = VideoTokens(*(torch.cat(part) for part in zip(*parts, strict=True)))
            if is_distributed():
                row, tokens = gather_rows(row), VideoTokens(*map(gather_rows, tokens))
            # samplers of several processes pad with duplicates: keep one of each row
            order = row.argsort(stable=True)
            keep = torch.ones_like(row, dtype=torch.bool)
            keep[1:] = row[order][1:] != row[order][:-1]
            order = order[keep]
            self._parts = []
            self._encoded = row[order], VideoTokens(*(part[order] for part in tokens))
        return self._encoded

    @property
    def rows(self) -> Tensor:
        """(V,) rows of the videos in their split's table, ascending."""
        return self._tokens()[0]

    def ask(self, queries: Queries) -> Answer:
        """Score every video for a batch of queries."""
        embedding = self.network.encode_queries(queries.words, queries.word_mask)
        scores = self.network.score(embedding, self._tokens()[1])
        return Answer(self.network.combine(scores), scores.best_clip, scores.best_frame)

    def positions(self, positives: Tensor) -> Tensor:
        """Rows of true videos (Q, P) as positions in this gallery; -1 where there is none.

        A gallery cut short (`limit_val_batches`, `fast_dev_run`) lacks some.
        """
        rows = self.rows
        position = torch.searchsorted(rows, positives.clamp(min=0)).clamp(max=len(rows) - 1)
        found = (rows[position] == positives) & (positives >= 0)
        # true videos first, so that a query has one in its first column or none at all
        return position.where(found, -1).sort(dim=1, descending=True).values
