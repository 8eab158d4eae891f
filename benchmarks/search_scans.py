"""Exact search without an engine: all tokens in memory, scanned by torch or by numpy."""

from collections.abc import Iterator
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from benchmarks.search_videos import CLIP_WEIGHT, FRAME_WEIGHT, Videos
from dreamprvr.models.scoring import score_block

ScanDtype = Literal["float32", "float16"]
TILE = 64  # videos whose float16 tokens are made float32 at once: 16 MB
MEMORY = 1e8  # bytes of products when many queries are scored at once


class Scan:
    """Clips and frames of all videos.

    Args:
        videos: the collection.
        dtype: float32 is scanned by one product; float16 halves the memory, and is made float32 a
            tile at a time, since neither library multiplies float16 fast on a CPU.
    """

    def __init__(self, videos: Videos, dtype: ScanDtype = "float32") -> None:
        assert dtype in get_args(ScanDtype)
        self._clips = videos.clips
        tokens = videos.clips + videos.frames
        self.tokens = torch.empty(videos.count, tokens, videos.dim, dtype=getattr(torch, dtype))

    def add(self, start: int, clips: np.ndarray, frames: np.ndarray) -> None:
        """Keep videos (B, C, D) and (B, M, D) from position `start` on."""
        here = self.tokens[start : start + len(clips)]
        here[:, : self._clips] = torch.from_numpy(clips)
        here[:, self._clips :] = torch.from_numpy(frames)

    @property
    def bytes(self) -> int:
        """Of all tokens."""
        return self.tokens.nbytes

    def torch(self, query: np.ndarray, limit: int, allowed: np.ndarray | None = None) -> np.ndarray:
        """Positions of the best videos for (D,), best first, among those allowed or all."""
        column = torch.from_numpy(query)
        scores = torch.cat([
            self._weigh(tile.float().flatten(0, 1).mv(column).view(len(tile), -1))
            for tile in self._tiles(allowed)
        ])  # fmt: skip
        best = scores.topk(min(limit, len(scores))).indices.numpy()
        return best if allowed is None else allowed[best]

    def numpy(self, query: np.ndarray, limit: int) -> np.ndarray:
        """The same by numpy, among all videos."""
        found = []
        for tile in self._tiles(None):
            rows = tile.numpy().astype(np.float32, copy=False)
            products = (rows.reshape(-1, rows.shape[2]) @ query).reshape(len(rows), -1)
            clip, frame = products[:, : self._clips], products[:, self._clips :]
            found.append(CLIP_WEIGHT * clip.max(axis=1) + FRAME_WEIGHT * frame.max(axis=1))
        scores = np.concatenate(found)
        limit = min(limit, len(scores))
        best = np.argpartition(-scores, limit - 1)[:limit]
        return best[np.argsort(-scores[best])]

    def batch(self, queries: np.ndarray) -> np.ndarray:
        """Scores (Q, V) of many queries at once, as the evaluation computes them."""
        asked = torch.from_numpy(queries)
        clips, frames = self.tokens[:, : self._clips], self.tokens[:, self._clips :]
        clip = score_block(asked, clips, None, False, MEMORY).score
        frame = score_block(asked, frames, None, False, MEMORY).score
        return (CLIP_WEIGHT * clip + FRAME_WEIGHT * frame).numpy()

    def _weigh(self, products: Tensor) -> Tensor:
        clip, frame = products[:, : self._clips].amax(1), products[:, self._clips :].amax(1)
        return CLIP_WEIGHT * clip + FRAME_WEIGHT * frame

    def _tiles(self, allowed: np.ndarray | None) -> Iterator[Tensor]:
        rows = self.tokens if allowed is None else self.tokens[torch.from_numpy(allowed)]
        yield from rows.split(TILE) if rows.dtype == torch.float16 else [rows]
