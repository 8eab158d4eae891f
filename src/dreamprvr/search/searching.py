"""Search for one query: checks, ranking by the engine, and moments of the videos found."""

import math
import time
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal

from dreamprvr.core.errors import UserError
from dreamprvr.core.text import quote
from dreamprvr.evaluation.moments import Curve, MomentRule, find_moments
from dreamprvr.search.catalogue import library_video, row_count, timeline_of
from dreamprvr.search.engine.interface import Engine, EngineQuery, Record
from dreamprvr.search.engine.points import SCANNED, values
from dreamprvr.search.results import Hit, SearchResult
from dreamprvr.search.rows import RowStore, look_up

if TYPE_CHECKING:  # a library is listed without torch, which takes seconds to be imported
    from dreamprvr.models.encoded import EncodedQueries
    from dreamprvr.search.model import LibraryModel

EXACT = 2000  # videos up to which all are scored exactly; docs/search.md has the times
CANDIDATES = 800  # candidates in a library of more videos
RESCORED = 100  # videos that are scored again by a model with a score of its own
MOST = 1_000_000  # most videos or moments of one answer, as on the command line
Candidates = int | Literal["all"] | None


class Searcher:
    """Answers queries to a library.

    Args:
        engine: engine of the library, open.
        model: model of the library.
        rule: numbers of the rule that finds moments; None for the default ones.
        store: files of rows beside the engine; None if there are none.
    """

    def __init__(
        self,
        engine: Engine,
        model: "LibraryModel",
        rule: MomentRule | None = None,
        store: RowStore | None = None,
    ) -> None:
        self.engine, self.library_model, self.store = engine, model, store
        self.model = model.model
        self.rule = rule or MomentRule()

    def search(
        self,
        text: str,
        k: int,
        where: Mapping[str, Any],
        moments: int,
        threshold: float | None,
        candidates: Candidates,
        rescored: int = RESCORED,
    ) -> SearchResult:
        """Answer one query; the arguments are described at `Library.search`."""
        check_text(text)
        check_numbers(threshold, candidates, k=k, moments=moments, rescored=rescored)
        encoder = self.library_model.encoder()
        begin = time.perf_counter()
        query = self.model.encode_query(encoder, text)
        searched = self.engine.count(where)
        candidate_videos = candidate_count(candidates, searched)
        limit = max(k, rescored) if self.model.network.rescores else k
        engine_query = EngineQuery(
            self.model.engine_rows(query), self.model.segment_rows(query), limit, where,
            candidate_videos, searched > SCANNED,
        )  # fmt: skip
        scores = {hit.video_id: hit.score for hit in self.engine.search(engine_query)}
        if self.model.network.rescores:
            scores = self._rescored(query, list(scores), k)
        above_threshold = [
            name for name, s in scores.items() if threshold is None or s >= threshold
        ]
        hits = tuple(
            self._hit(rank, record, scores[record.video_id], query, moments)
            for rank, record in enumerate(self._look_up(above_threshold), 1)
        )
        scored = (
            searched if candidate_videos is None else min(searched, max(candidate_videos, limit))
        )
        return SearchResult(text, hits, time.perf_counter() - begin, searched, scored)

    def _look_up(self, video_ids: list[str]) -> Iterable[Record]:
        return look_up(self.engine, self.model, self.store, video_ids)

    def _rescored(self, query: "EncodedQueries", video_ids: list[str], k: int) -> dict[str, float]:
        """Score videos by the model's own score, and return the k best, best first.

        Args:
            query: batch of one query.
            video_ids: ids of the videos to score.
            k: number of videos to keep.
        """
        scores = {
            record.video_id: self.model.rescore(query, record, row_count(record.payload))
            for record in self._look_up(video_ids)
        }
        return dict(sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:k])

    def _hit(
        self, rank: int, record: Record, score: float, query: "EncodedQueries", moments: int
    ) -> Hit:
        timeline = timeline_of(record.payload, self.library_model.settings)
        starts, ends = timeline.pieces()
        over_time = self.model.over_time(query, record, timeline.rows)
        curve = Curve(*(tuple(part.tolist()) for part in (starts, ends, over_time)))
        return Hit(
            rank, library_video(record.video_id, record.payload), score,
            find_moments(curve, moments, self.rule), curve,
            self.model.register_cosines(query, record),
        )  # fmt: skip


def candidate_count(candidates: Candidates, videos: int) -> int | None:
    """Return the number of videos to score exactly; None for all of them.

    Args:
        candidates: number that the user wants, "all", or None for the default.
        videos: number of videos that match the filter.
    """
    if candidates is None:
        return None if videos <= EXACT else CANDIDATES
    return None if candidates == "all" else candidates


# Checks of the user's arguments, before anything is loaded or searched


def check_text(text: object) -> None:
    """Raise unless a query is a text that is not empty."""
    if not isinstance(text, str):
        raise UserError(f"the query is {quote(text)}; it must be a sentence")
    if not text.strip():
        raise UserError("the query is empty: describe what happens in the video")
    _check_unicode(text, "the query")


def check_numbers(threshold: object, candidates: object, **counts: object) -> None:
    """Raise unless the numbers of `Library.search` are valid.

    Args:
        threshold: a number, or None.
        candidates: a whole number of at least 1, "all", or None.
        counts: whole numbers of at least 1, by name of the argument.
    """
    if isinstance(candidates, str) and candidates != "all":
        raise UserError(f"candidates is {quote(candidates)}; it must be a number, or 'all'")
    if candidates is not None and candidates != "all":
        counts["candidates"] = candidates
    for name, value in counts.items():
        if not isinstance(value, Integral) or isinstance(value, bool):
            raise UserError(f"{name} is {quote(value)}; it must be a whole number")
        if int(value) < 1:
            raise UserError(f"{name} is {value}; it must be at least 1")
        if int(value) > MOST:
            raise UserError(f"{name} is above {MOST:,}, the largest allowed number")
    if threshold is not None and (
        not isinstance(threshold, Real) or isinstance(threshold, bool) or math.isnan(threshold)
    ):
        raise UserError(f"threshold is {quote(threshold)}; it must be a number")


def check_where(where: object) -> None:
    """Raise unless conditions are columns with values, such as {"tags": "cooking"}, or None."""
    if where is None:
        return
    if not isinstance(where, Mapping) or not all(isinstance(column, str) for column in where):
        raise UserError(
            f"where is {quote(where)}; it must hold columns and values, say {{'tags': 'cooking'}}"
        )
    for column, allowed in where.items():
        for word in (column, *map(str, values(allowed))):
            _check_unicode(word, "where")


def check_ids(video_ids: object) -> list[str]:
    """Return ids of videos as a list; raise if they are something else, such as a single id."""
    ids = None
    if isinstance(video_ids, Iterable) and not isinstance(video_ids, (str, bytes)):
        ids = list(video_ids)
    if ids is None or not all(isinstance(name, str) for name in ids):
        raise UserError(f"video ids are {quote(video_ids)}; they must be a list, say ['a', 'b']")
    return ids


def _check_unicode(text: str, name: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UserError(f"{name} is not Unicode text: {quote(text)}") from None
