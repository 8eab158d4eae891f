"""The gallery of an evaluation: encoded once, then asked by every query in bounded memory."""

from collections.abc import Iterator
from operator import itemgetter
from typing import Literal, NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from dreamprvr.core.batch import Queries, Videos
from dreamprvr.core.distributed import gather_rows, is_distributed
from dreamprvr.evaluation.moments import FrameScores
from dreamprvr.models.contract import RetrievalModel
from dreamprvr.models.encoded import EncodedQueries, EncodedVideos, join_tensors, map_tensors
from dreamprvr.models.layers.basic import at_least_float32
from dreamprvr.models.scoring import BestTokens, score_block, unit_rows, unit_tokens

GalleryDtype = Literal["float32", "bfloat16", "float16"]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# Encoded at once, so that their feed-forward layer fits the last cache.
CPU_VIDEOS, CPU_QUERIES = 16, 100
BYTES_A_PAIR = 24  # of a query and a video: score and indices, and what counting and topk need


class Answer(NamedTuple):
    """Scores of Q queries against a gallery of V videos, and the tokens that earned them."""

    score: Tensor  # (Q, V)
    best: dict[str, Tensor]  # by scale, (Q, V) int16, the best token for the heaviest row
    queries: EncodedQueries  # rows of unit length


class Part(NamedTuple):
    """Videos that were encoded together."""

    rows: Tensor  # (B,)
    videos: EncodedVideos  # tokens of unit length, and those extras that `rescore` needs
    frames: Tensor  # (B,), the number of frames of each video


class Gallery:
    """Encoded videos of a split; positions are in the order of the videos' rows.

    Args:
        model: encodes and scores.
        dtype: how tokens are kept. Half precision halves the memory; products stay in float32.
        memory: bytes that scoring may take beyond the gallery.
        rescored: candidates of each query that a model with `rescore` scores again, the best by
            the sum of maxima; the others follow behind them. None scores all again.
    """

    def __init__(
        self,
        model: RetrievalModel,
        dtype: GalleryDtype = "float32",
        memory: float = 1e9,
        rescored: int | None = None,
    ) -> None:
        self.model = model
        self.dtype = DTYPES[dtype]
        self.memory = memory
        self.rescored = rescored
        self._parts: list[Part] = []
        self._gathered = False
        self._rows: Tensor | None = None

    def add(self, videos: Videos) -> None:
        """Encode a batch of videos, on the CPU a few at a time: what they need stays small."""
        size = CPU_VIDEOS if videos.clips.device.type == "cpu" else len(videos.row)
        for start in range(0, len(videos.row), size):
            row, *features = (part[start : start + size] for part in videos)
            self.add_encoded(row, self.model.encode_videos(*features), features[2].sum(dim=1))

    def add_encoded(self, rows: Tensor, videos: EncodedVideos, frames: Tensor) -> None:
        """Add videos that are encoded already.

        Args:
            rows: rows of the videos in their split's table, (B,).
            videos: the videos, with tokens as the model gave them.
            frames: number of frames of each video, (B,).
        """
        unit = unit_tokens(videos)
        scales = {
            name: scale._replace(tokens=self._keep(scale.tokens))
            for name, scale in unit.scales.items()
        }
        kept = self.model.kept if self.model.rescores else ()
        extras = {name: self._keep(videos.extras[name]) for name in kept}
        self._parts.append(Part(rows, EncodedVideos(scales, extras), frames.long()))
        self._rows = None

    def _keep(self, tokens: Tensor) -> Tensor:
        return tokens if tokens.dtype == torch.float64 else tokens.to(self.dtype)

    @property
    def rows(self) -> Tensor:
        """(V,) rows of the videos in their split's table, ascending.

        Samplers of several processes pad with duplicates; each video is counted once.
        """
        if is_distributed() and not self._gathered:
            whole = map_tensors(gather_rows, join_tensors(self._parts))
            self._parts, self._gathered = [whole], True
        if self._rows is None:
            self._rows = torch.cat([part.rows for part in self._parts]).unique()
        return self._rows

    def blocks(self, queries: Queries) -> Iterator[Queries]:
        """Queries a block at a time, so few that what is computed of a block fits the memory."""
        size = max(1, int(self.memory / 2 / (BYTES_A_PAIR * len(self.rows))))
        for start in range(0, len(queries.row), size):
            yield Queries(*(part[start : start + size] for part in queries))

    def scores(self, queries: Queries) -> Tensor:
        """Score every video for a block of queries, (Q, V)."""
        return self._score(self._embed(queries), None)

    def ask(self, queries: Queries) -> Answer:
        """Score every video as `scores` does, and say which tokens earned it."""
        shape = (len(queries.row), len(self.rows))
        best = {
            name: torch.empty(shape, dtype=torch.int16, device=self.rows.device)
            for name in self.model.scales
        }
        embedded = self._embed(queries)
        return Answer(self._score(embedded, best), best, embedded)

    def frame_scores(self, queries: EncodedQueries, videos: Tensor) -> Tensor:
        """Score Q queries over time in K videos each (`dreamprvr.evaluation.moments`).

        Args:
            queries: as `ask` gives them.
            videos: rows of the videos, (Q, K).

        Returns:
            (Q, K, M_f), minus infinity behind a video's last frame.
        """
        shape = (*videos.shape, self.model.config.max_frames)
        result = at_least_float32(queries.embedding).new_full(shape, -torch.inf)
        score = FrameScores(self.model)
        for part in self._parts:
            rows_a_query = sum(
                queries.rows[name].weights.shape[1] * scale.tokens[..., 0].numel()
                for name, scale in part.videos.scales.items()
            )
            size = max(1, int(self.memory / 16 / rows_a_query))
            for start in range(0, len(videos), size):
                block = slice(start, start + size)
                here = (videos[block, :, None] == part.rows).nonzero(as_tuple=True)
                if len(here[0]):
                    few = map_tensors(itemgetter(block), queries)
                    pairs = (here[0], here[2])
                    scores = score(few, part.videos, part.frames, pairs)
                    result[block][here[:2]] = scores.to(result.dtype)
        return result

    def _embed(self, queries: Queries) -> EncodedQueries:
        size = CPU_QUERIES if queries.words.device.type == "cpu" else len(queries.words)
        parts = zip(queries.words.split(size), queries.word_mask.split(size), strict=True)
        return unit_rows(join_tensors([self.model.encode_queries(*part) for part in parts]))

    def _score(self, queries: EncodedQueries, best: dict[str, Tensor] | None) -> Tensor:
        weights, rows = self.model.scale_weights, self.rows
        total = at_least_float32(queries.embedding).new_zeros(len(queries.embedding), len(rows))
        for part in self._parts:
            columns = torch.searchsorted(rows, part.rows)
            scores: Tensor | None = None
            for name in part.videos.scales:
                found = self._block(queries, part, name, best is not None)
                weighted = weights[name] * found.score
                scores = weighted if scores is None else scores + weighted
                if best is not None:
                    best[name][:, columns] = found.token
            assert scores is not None, "a model has at least one scale"
            total[:, columns] = scores
        return self._rescore(queries, total) if self.model.rescores else total

    def _block(
        self, queries: EncodedQueries, part: Part, name: str, with_token: bool
    ) -> BestTokens:
        """Score the videos of a part at one scale, (Q, B)."""
        rows, scale = queries.rows[name], part.videos.scales[name]
        mask = scale.mask if self.model.padding == "ignore" else None
        count = rows.vectors.shape[1]
        vectors = at_least_float32(rearrange(rows.vectors, "q w d -> (q w) d"))
        found = score_block(vectors, scale.tokens, mask, with_token, self.memory / 4)
        if count == 1:
            return found._replace(score=found.score * rows.weights)
        score = rearrange(found.score, "(q w) b -> q w b", w=count)
        token = found.token
        if with_token:
            heaviest = rows.weights.argmax(dim=1)
            token = rearrange(token, "(q w) b -> q w b", w=count)
            token = token[torch.arange(len(heaviest), device=token.device), heaviest]
        return BestTokens(torch.einsum("qw,qwb->qb", rows.weights, score), token)

    def _rescore(self, queries: EncodedQueries, total: Tensor) -> Tensor:
        """Replace the sums of maxima of the candidates by the model's own score."""
        exact = torch.empty_like(total)
        for part in self._parts:
            columns = torch.searchsorted(self.rows, part.rows)
            exact[:, columns] = self.model.rescore(queries, part.videos, total[:, columns])
        if self.rescored is None or self.rescored >= total.shape[1]:
            return exact
        first = total.topk(max(self.rescored, 1), dim=1).indices
        candidates = torch.zeros_like(total, dtype=torch.bool).scatter_(1, first, True)
        # the others keep their order, and their best lies below every candidate
        lowest = exact.masked_fill(~candidates, torch.inf).amin(dim=1, keepdim=True)
        highest = total.masked_fill(candidates, -torch.inf).amax(dim=1, keepdim=True)
        return torch.where(candidates, exact, total - highest + lowest - 1)

    def positions(self, positives: Tensor) -> Tensor:
        """Rows of true videos (Q, P) as positions in this gallery; -1 where there is none.

        A gallery cut short (`limit_val_batches`, `fast_dev_run`) lacks some.
        """
        rows = self.rows
        position = torch.searchsorted(rows, positives.clamp(min=0)).clamp(max=len(rows) - 1)
        found = (rows[position] == positives) & (positives >= 0)
        # true videos first, so that a query has one in its first column or none at all
        return position.where(found, -1).sort(dim=1, descending=True).values
