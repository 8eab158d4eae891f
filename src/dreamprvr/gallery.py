"""The gallery of an evaluation: encoded once, then asked by every query in bounded memory."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from dreamprvr.batch import Queries, Videos
from dreamprvr.block_scores import score_block
from dreamprvr.distributed import gather_rows, is_distributed
from dreamprvr.model.layers import full
from dreamprvr.model.network import DreamPRVR
from dreamprvr.model.scoring import VideoTokens

GalleryDtype = Literal["float32", "bfloat16", "float16"]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# Encoded at once, so that their feed-forward layer fits the last cache.
CPU_VIDEOS, CPU_QUERIES = 16, 100
BYTES_A_PAIR = 24  # of a query and a video: score and indices, and what counting and topk need


class Answer(NamedTuple):
    """Scores of Q queries against a gallery of V videos, and the tokens that earned them."""

    score: Tensor  # (Q, V)
    best_clip: Tensor  # (Q, V) int16
    best_frame: Tensor  # (Q, V) int16


class Part(NamedTuple):
    """Videos that were encoded together."""

    rows: Tensor  # (B,)
    tokens: VideoTokens  # normalised


class Gallery:
    """Normalised tokens of a split's videos; positions are in the order of the videos' rows.

    Args:
        network: encodes and scores.
        dtype: how tokens are kept. Half precision halves the memory; products stay in float32.
        memory: bytes that scoring may take beyond the gallery.
    """

    def __init__(
        self, network: DreamPRVR, dtype: GalleryDtype = "float32", memory: float = 1e9
    ) -> None:
        self.network = network
        self.dtype = DTYPES[dtype]
        self.memory = memory
        self._parts: list[Part] = []
        self._gathered = False
        self._rows: Tensor | None = None

    def add(self, videos: Videos) -> None:
        """Encode a batch of videos, on the CPU a few at a time: what they need stays small."""
        size = CPU_VIDEOS if videos.clips.device.type == "cpu" else len(videos.row)
        for start in range(0, len(videos.row), size):
            row, *features = (part[start : start + size] for part in videos)
            self.add_tokens(row, self.network.encode_videos(*features).tokens)

    def add_tokens(self, rows: Tensor, tokens: VideoTokens) -> None:
        """Add videos that are encoded already, not yet normalised; `rows` (B,)."""
        unit = tokens.normalised()
        kept = unit._replace(clips=self._keep(unit.clips), frames=self._keep(unit.frames))
        self._parts.append(Part(rows, kept))
        self._rows = None

    def _keep(self, tokens: Tensor) -> Tensor:
        return tokens if tokens.dtype == torch.float64 else tokens.to(self.dtype)

    @property
    def rows(self) -> Tensor:
        """(V,) rows of the videos in their split's table, ascending.

        Samplers of several processes pad with duplicates; each video is counted once.
        """
        if is_distributed() and not self._gathered:
            rows, tokens = zip(*self._parts, strict=True)
            whole = VideoTokens(*(gather_rows(torch.cat(t)) for t in zip(*tokens, strict=True)))
            self._parts, self._gathered = [Part(gather_rows(torch.cat(rows)), whole)], True
        if self._rows is None:
            self._rows = torch.cat([part.rows for part in self._parts]).unique()
        return self._rows

    def blocks(self, queries: Queries) -> Iterator[Queries]:
        """Queries a block at a time, so few that what is computed of a block fits the memory."""
        size = max(1, int(self.memory / 2 / (BYTES_A_PAIR * len(self.rows))))
        for start in range(0, len(queries.row), size):
            yield Queries(*(part[start : start + size] for part in queries))

    def scores(self, queries: Queries) -> Tensor:
        """Score of every video for a block of queries, (Q, V)."""
        return self._score(self._embed(queries), None)

    def ask(self, queries: Queries) -> Answer:
        """`scores`, and which tokens earned them."""
        shape = (len(queries.row), len(self.rows))
        best = [torch.empty(shape, dtype=torch.int16, device=self.rows.device) for _ in range(2)]
        return Answer(self._score(self._embed(queries), best), *best)

    def _embed(self, queries: Queries) -> Tensor:
        size = CPU_QUERIES if queries.words.device.type == "cpu" else len(queries.words)
        parts = zip(queries.words.split(size), queries.word_mask.split(size), strict=True)
        query = torch.cat([self.network.encode_queries(*part) for part in parts])
        return F.normalize(full(query), dim=-1)

    def _score(self, query: Tensor, best: list[Tensor] | None) -> Tensor:
        config, rows = self.network.config, self.rows
        total = query.new_empty(len(query), len(rows))
        for part in self._parts:
            columns = torch.searchsorted(rows, part.rows)
            mask = part.tokens.frame_mask if config.padded_frames == "ignore" else None
            scales = ((part.tokens.clips, None), (part.tokens.frames, mask))
            found = [
                score_block(query, *scale, best is not None, self.memory / 4) for scale in scales
            ]
            clip, frame = found
            total[:, columns] = config.clip_weight * clip.score + config.frame_weight * frame.score
            if best is not None:
                for kept, scale in zip(best, found, strict=True):
                    kept[:, columns] = scale.token
        return total

    def positions(self, positives: Tensor) -> Tensor:
        """Rows of true videos (Q, P) as positions in this gallery; -1 where there is none.

        A gallery cut short (`limit_val_batches`, `fast_dev_run`) lacks some.
        """
        rows = self.rows
        position = torch.searchsorted(rows, positives.clamp(min=0)).clamp(max=len(rows) - 1)
        found = (rows[position] == positives) & (positives >= 0)
        # true videos first, so that a query has one in its first column or none at all
        return position.where(found, -1).sort(dim=1, descending=True).values
