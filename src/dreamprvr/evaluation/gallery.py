"""The gallery of an evaluation: encoded once, then ranked for every query in bounded memory.

`top_hits` gives the best videos of each query, and its score over time in each of them.
"""

from collections.abc import Iterator
from operator import itemgetter
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from dreamprvr.core.batch import Queries, Videos
from dreamprvr.core.distributed import gather_rows, is_distributed
from dreamprvr.evaluation.frame_scores import FrameScores
from dreamprvr.evaluation.metrics import best_rank, refuse_nan, true_ranks
from dreamprvr.models.contract import RetrievalModel
from dreamprvr.models.encoded import EncodedQueries, EncodedVideos, join_tensors, map_tensors
from dreamprvr.models.layers.basic import at_least_float32
from dreamprvr.models.scoring import best_tokens, combine, unit_rows, unit_tokens

GalleryDtype = Literal["float32", "bfloat16", "float16"]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# Numbers encoded at once, so that their feed-forward layer fits the processor's last cache.
CPU_VIDEOS, CPU_QUERIES = 16, 100
# Bytes for a pair of a query and a video: score and indices, and what counting and topk need.
BYTES_PER_PAIR = 24


class Answer(NamedTuple):
    """Scores of Q queries against a gallery of V videos, and the tokens that earned them."""

    score: Tensor  # (Q, V)
    best: dict[str, Tensor]  # by scale, (Q, V) int16, the best token for the heaviest row
    queries: EncodedQueries  # with rows of unit length


class QueryHits(NamedTuple):
    """The best K videos of Q queries, best first."""

    query: Tensor  # (Q,), rows of the queries in their table
    rank: Tensor  # (Q,), rank of the best true video among all, from 1; 0 if none is known
    ranks: Tensor  # (Q, P), rank of each true video in the order of its query; 0 for padding
    video: Tensor  # (Q, K), rows of the videos in their table
    score: Tensor  # (Q, K)
    best: dict[str, Tensor]  # by scale, (Q, K), index of the best token
    over_time: Tensor  # (Q, K, M_f), score at each frame; minus infinity behind the last one


class Part(NamedTuple):
    """Videos that were encoded together."""

    rows: Tensor  # (B,), rows of the videos in their split's table
    videos: EncodedVideos  # with tokens of unit length, and those extras that `rescore` needs
    frames: Tensor  # (B,), the number of frames of each video


class Gallery:
    """The encoded videos of a split, in the order of their rows in the split's table.

    Args:
        model: the model that encodes and scores.
        dtype: number format of the kept tokens. Half precision halves the memory; products stay
            in float32.
        memory: number of bytes that scoring may take beyond the gallery.
        rescored: number of candidates of each query that a model with `rescore` scores again: the
            best by the sum of maxima. The other videos follow behind them. None scores all again.
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
        """Encode a batch of videos and add them; on the CPU a few at a time, to save memory."""
        size = CPU_VIDEOS if videos.clips.device.type == "cpu" else len(videos.row)
        for start in range(0, len(videos.row), size):
            row, *features = (part[start : start + size] for part in videos)
            self.add_encoded(row, self.model.encode_videos(*features), features[2].sum(dim=1))

    def add_encoded(self, rows: Tensor, videos: EncodedVideos, frames: Tensor) -> None:
        """Add videos that are encoded already.

        Args:
            rows: rows of the videos in their split's table, (B,).
            videos: the videos as the model encoded them.
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
        """Rows of the V videos in their split's table, ascending, (V,).

        Samplers of several processes pad with duplicates; each video counts once.
        """
        if is_distributed() and not self._gathered:
            whole = map_tensors(gather_rows, join_tensors(self._parts))
            self._parts, self._gathered = [whole], True
        if self._rows is None:
            self._rows = torch.cat([part.rows for part in self._parts]).unique()
        return self._rows

    def blocks(self, queries: Queries) -> Iterator[Queries]:
        """Split queries into blocks, so small that the scores of a block fit the memory."""
        size = max(1, int(self.memory / 2 / (BYTES_PER_PAIR * len(self.rows))))
        for start in range(0, len(queries.row), size):
            yield Queries(*(part[start : start + size] for part in queries))

    def scores(self, queries: Queries) -> Tensor:
        """Score every video for a block of queries; (Q, V)."""
        return self._score(self._encode(queries), None)

    def ask(self, queries: Queries) -> Answer:
        """Score every video as `scores` does, and say which tokens earned the scores."""
        shape = (len(queries.row), len(self.rows))
        best = {
            name: torch.empty(shape, dtype=torch.int16, device=self.rows.device)
            for name in self.model.scales
        }
        encoded = self._encode(queries)
        return Answer(self._score(encoded, best), best, encoded)

    def frame_scores(self, queries: EncodedQueries, videos: Tensor) -> Tensor:
        """Score Q queries over time in K videos each (`dreamprvr.evaluation.frame_scores`).

        Args:
            queries: the queries as `ask` returns them.
            videos: rows of the videos in their split's table, (Q, K).

        Returns:
            The score at each frame, (Q, K, M_f); minus infinity behind a video's last frame.
        """
        products_per_query = max(
            queries.rows[name].weights.shape[1] * scale.tokens[..., 0].numel()
            for part in self._parts
            for name, scale in part.videos.scales.items()
        )
        size = max(1, int(self.memory / 16 / products_per_query))
        score = FrameScores(self.model)
        blocks = (slice(start, start + size) for start in range(0, len(videos), size))
        return torch.cat(
            [
                self._frame_scores(score, map_tensors(itemgetter(block), queries), videos[block])
                for block in blocks
            ]
        )

    def _frame_scores(self, score: FrameScores, queries: EncodedQueries, videos: Tensor) -> Tensor:
        """Score a block of queries over time, part by part; as `frame_scores`."""
        kept, places = torch.cat([part.rows for part in self._parts]).sort()
        place, order = places[torch.searchsorted(kept, videos.flatten())].sort()
        query = order // videos.shape[1]
        stops = torch.tensor([len(part.rows) for part in self._parts]).cumsum(0)
        ends = torch.searchsorted(place, stops.to(place.device)).tolist()
        longest = self.model.config.max_frames
        result = at_least_float32(queries.embedding).new_empty(len(place), longest)
        first_pair = first_video = 0
        for part, last_pair in zip(self._parts, ends, strict=True):
            if last_pair > first_pair:
                block = slice(first_pair, last_pair)
                pairs = query[block], place[block] - first_video
                scores = score(queries, part.videos, part.frames, pairs)
                result[order[block]] = scores.to(result.dtype)
            first_pair, first_video = last_pair, first_video + len(part.rows)
        return result.unflatten(0, videos.shape)

    def _encode(self, queries: Queries) -> EncodedQueries:
        size = CPU_QUERIES if queries.words.device.type == "cpu" else len(queries.words)
        parts = zip(queries.words.split(size), queries.word_mask.split(size), strict=True)
        return unit_rows(join_tensors([self.model.encode_queries(*part) for part in parts]))

    def _score(self, queries: EncodedQueries, best: dict[str, Tensor] | None) -> Tensor:
        """Score all videos, and write the best tokens into `best` if it is given."""
        shape = (len(queries.embedding), len(self.rows))
        total = at_least_float32(queries.embedding).new_empty(shape)
        for part in self._parts:
            columns = torch.searchsorted(self.rows, part.rows)
            by_scale = {}
            for name, scale in part.videos.scales.items():
                part_best = best_tokens(
                    queries.rows[name], scale, self.model.padding, best is not None, self.memory / 4
                )
                by_scale[name] = part_best.score
                if best is not None:
                    best[name][:, columns] = part_best.token
            total[:, columns] = combine(by_scale, self.model.scale_weights)
        return self._rescore(queries, total) if self.model.rescores else total

    def _rescore(self, queries: EncodedQueries, total: Tensor) -> Tensor:
        """Replace the sums of maxima (Q, V) of the candidates by the model's own score."""
        exact = total.clone()
        if self.rescored is None or self.rescored >= total.shape[1]:
            for part in self._parts:
                columns = torch.searchsorted(self.rows, part.rows)
                exact[:, columns] = self.model.rescore(queries, part.videos, total[:, columns])
            return exact
        first = total.topk(self.rescored, dim=1).indices
        candidates = torch.zeros_like(total, dtype=torch.bool).scatter_(1, first, True)
        for part in self._parts:
            for place, column in enumerate(torch.searchsorted(self.rows, part.rows).tolist()):
                asking = candidates[:, column].nonzero().squeeze(1)  # queries with this candidate
                some = map_tensors(itemgetter(asking), queries)
                video = map_tensors(itemgetter(slice(place, place + 1)), part.videos)
                scores = self.model.rescore(some, video, total[asking, column, None])
                exact[asking, column] = scores.squeeze(1)
        # the other videos keep their order, and the best of them lies below every candidate
        lowest = exact.masked_fill(~candidates, torch.inf).amin(dim=1, keepdim=True)
        highest = total.masked_fill(candidates, -torch.inf).amax(dim=1, keepdim=True)
        return torch.where(candidates, exact, total - highest + lowest - 1)

    def positions(self, positives: Tensor) -> Tensor:
        """Find the positions of true videos in this gallery.

        Args:
            positives: rows of the true videos in their split's table, (Q, P), padded with -1.

        Returns:
            (Q, P) in the same order, with -1 for padding and for a video that the gallery lacks, as
            one that was cut short does (`limit_val_batches`, `fast_dev_run`).
        """
        rows = self.rows
        position = torch.searchsorted(rows, positives.clamp(min=0)).clamp(max=len(rows) - 1)
        present = (rows[position] == positives) & (positives >= 0)
        return position.where(present, -1)


def top_hits(gallery: Gallery, queries: Queries, top_k: int) -> QueryHits:
    """Pick the best videos, score them over time, and rank the true videos among all.

    Args:
        gallery: the V encoded videos.
        queries: the Q queries.
        top_k: K, number of videos for each query; at most V are returned.

    Raises:
        UserError: a score is NaN.
    """
    answer = gallery.ask(queries)
    video_rows, query_rows = gallery.rows, queries.row
    refuse_nan(answer.score, query_rows)
    ranks = true_ranks(answer.score, gallery.positions(queries.positives))
    best = torch.topk(answer.score, min(top_k, len(video_rows)), dim=1)
    tokens = {name: index.gather(1, best.indices).long() for name, index in answer.best.items()}
    videos = video_rows[best.indices]
    over_time = gallery.frame_scores(answer.queries, videos)
    return QueryHits(query_rows, best_rank(ranks), ranks, videos, best.values, tokens, over_time)
