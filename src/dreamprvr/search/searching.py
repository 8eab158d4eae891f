"""One query: rank by the engine, then look closely at the videos that were found."""

import time
from collections.abc import Mapping
from typing import Any, Literal

from dreamprvr.evaluation.moments import MomentRule, find_moments
from dreamprvr.search.catalogue import library_video, timeline_of
from dreamprvr.search.curve import register_cosines, score_curve
from dreamprvr.search.engine import Engine, EngineQuery, Record
from dreamprvr.search.layout import SCANNED
from dreamprvr.search.lookup import look_up
from dreamprvr.search.models import LibraryModel
from dreamprvr.search.questions import check_numbers, check_text
from dreamprvr.search.results import Hit, SearchResult
from dreamprvr.search.rows import RowStore

EXACT = 2000  # videos up to which all are scored exactly; docs/search.md has the times
CANDIDATES = 800  # of more videos than that
Candidates = int | Literal["all"] | None


class Searcher:
    """Answers queries.

    Args:
        engine: open.
        model: of the library.
        rule: of moments.
        store: of rows beside the engine, if there is one.
    """

    def __init__(
        self,
        engine: Engine,
        model: LibraryModel,
        rule: MomentRule | None = None,
        store: RowStore | None = None,
    ) -> None:
        self.engine, self.library_model, self.store = engine, model, store
        self.rule = rule or MomentRule()

    def search(
        self,
        text: str,
        k: int,
        where: Mapping[str, Any],
        moments: int,
        threshold: float | None,
        candidates: Candidates,
    ) -> SearchResult:
        """See `Library.search`."""
        check_text(text)
        check_numbers(k, moments, threshold, candidates)
        model, encoder = self.library_model.model, self.library_model.encoder()
        begin = time.perf_counter()
        query = model.encode_query(encoder, text)
        searched = self.engine.count(where)
        few = candidate_count(candidates, searched)
        asked = EngineQuery(
            query, model.clip_weight, model.frame_weight, k, where, few, searched > SCANNED
        )  # fmt: skip
        scores = {hit.video_id: hit.score for hit in self.engine.search(asked)}
        kept = [name for name, s in scores.items() if threshold is None or s >= threshold]
        found = look_up(self.engine, model, self.store, kept)
        hits = tuple(
            self._hit(rank, record, scores[record.video_id], query, moments)
            for rank, record in enumerate(found, 1)
        )
        scored = searched if few is None else min(searched, max(few, k))
        return SearchResult(text, hits, time.perf_counter() - begin, searched, scored)

    def _hit(self, rank: int, record: Record, score: float, query: Any, moments: int) -> Hit:
        model = self.library_model.model
        timeline = timeline_of(record.payload, self.library_model.settings)
        curve = score_curve(record, query, model, timeline)
        return Hit(
            rank, library_video(record.video_id, record.payload), score,
            find_moments(curve, moments, self.rule), curve,
            register_cosines(record, query, model.registers),
        )  # fmt: skip


def candidate_count(candidates: Candidates, videos: int) -> int | None:
    """How many of the videos are scored exactly; None for all of them."""
    if candidates is None:
        return None if videos <= EXACT else CANDIDATES
    return None if candidates == "all" else candidates
