"""Search for one query: ranking by the engine, and moments of the videos found."""

import math
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dreamprvr.core.errors import UserError
from dreamprvr.core.text import quote
from dreamprvr.evaluation.moments import Curve, Moment, MomentRule, find_moments, milliseconds
from dreamprvr.search.background import Background, Level, sentences
from dreamprvr.search.catalogue import library_video, row_count, timeline_of
from dreamprvr.search.combining import best_pair, fused, without
from dreamprvr.search.engine.interface import (
    EVERY,
    Allowed,
    Engine,
    EngineHit,
    EngineQuery,
    Record,
)
from dreamprvr.search.engine.points import SCANNED
from dreamprvr.search.queries import Query, candidate_count
from dreamprvr.search.results import Best, Hit, SearchResult, SpokenMoment, judged
from dreamprvr.search.rows import RowStore, look_up
from dreamprvr.search.spoken import Spoken

TIES = 200  # videos of equal score that are looked through
COUNTED = 100  # ranks by what is seen that count for a video whose words are found

if TYPE_CHECKING:  # a library is listed without torch, which takes seconds to be imported
    from dreamprvr.models.encoded import EncodedQueries
    from dreamprvr.search.model import LibraryModel


class Asked(NamedTuple):
    """A query after encoding; each part is a batch of one.

    Args:
        first: the sentence, the moment or the picture.
        then: what must follow; None for nothing.
        without: what must not be seen; None for nothing.
        is_text: whether `first` is a sentence.
    """

    first: "EncodedQueries"
    then: "EncodedQueries | None" = None
    without: "EncodedQueries | None" = None
    is_text: bool = True

    @property
    def parts(self) -> list["EncodedQueries"]:
        """Return the parts that the engine searches for."""
        return [self.first] if self.then is None else [self.first, self.then]


class Task(NamedTuple):
    """A query, and the videos that it may find.

    Args:
        asked: the encoded query.
        query: the query.
        allowed: videos that may be found.
        searched: number of these videos.
        chosen: number of candidates; None for all videos.
    """

    asked: Asked
    query: Query
    allowed: Allowed
    searched: int
    chosen: int | None


class Ranking(NamedTuple):
    """Videos in the order of an answer.

    Args:
        order: ids, best first.
        seen: ids, best first, by what is seen.
        scores: score of what is seen, by id.
        said: passages that hold the sentence, by id, the best video first.
    """

    order: list[str]
    seen: list[str]
    scores: Mapping[str, float]
    said: Mapping[str, list[Spoken]]


class OverTime(NamedTuple):
    """The scores of a query along a video.

    Args:
        curve: the score of each piece, of what is shown.
        score: the score of a query of two parts; None for one part, whose score the engine gives.
        moments: the moments, best first; for two sentences one after the other, in their order.
        sure: the score that says how sure the match is: of two sentences, that of the weaker one.
    """

    curve: Curve
    score: float | None
    moments: tuple[Moment, ...]
    sure: float


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
        query: Query,
        allowed: Allowed = EVERY,
        background: Background | None = None,
        find_spoken: Callable[[str], list[list[Spoken]]] | None = None,
    ) -> SearchResult:
        """Answer one query.

        Args:
            query: the query, checked.
            allowed: videos that may be found.
            background: scores of sentences that have nothing to do with the library; None if they
                are not known.
            find_spoken: finds the passages of videos in which a sentence is spoken; None finds
                none.
        """
        self.library_model.encoder()  # its loading is no part of the time that is reported
        begin = time.perf_counter()
        asked = self._encoded(query)
        if query.like is not None:
            allowed = allowed._replace(besides={*allowed.besides, query.like[0]})
        task = self._task(asked, query, allowed)
        said: dict[str, list[Spoken]] = {}
        if find_spoken is not None and query.subtitles and query.text and query.is_plain:
            said = {passages[0].video_id: passages for passages in find_spoken(query.text)}
        found, limit = self._ranking(task, said)
        page = found.order[query.skip : query.skip + query.k]
        hits = tuple(
            self._hit(rank, record, found, task)
            for rank, record in enumerate(self._look_up(page), query.skip + 1)
        )
        scored = task.searched
        if task.chosen is not None:
            scored = min(scored, max(task.chosen, limit))
        seconds = time.perf_counter() - begin
        result = SearchResult(query.shown, hits, seconds, task.searched, scored)
        return judged(result, self._best(asked, found), background if asked.is_text else None)

    def _task(self, asked: Asked, query: Query, allowed: Allowed = EVERY) -> Task:
        searched = self.engine.count(allowed)
        return Task(asked, query, allowed, searched, candidate_count(query.candidates, searched))

    def _ranking(self, task: Task, said: Mapping[str, list[Spoken]]) -> tuple[Ranking, int]:
        """Rank videos by what is seen and, if there are such, by what is said.

        Args:
            task: what is asked.
            said: passages by id, the best video first.

        Returns:
            The ranking, and the number of videos that the engine was asked for.
        """
        last = task.query.skip + task.query.k
        ranked, limit = self._ranked(task, max(last, COUNTED) if said else last)
        least = -math.inf if task.query.threshold is None else task.query.threshold
        seen = {name: score for name, score in ranked if score >= least}
        if not said:
            return Ranking(list(seen), list(seen), seen, {}), limit
        others = said.keys() - seen.keys()
        only = task.allowed._replace(only=others)
        rest = task._replace(allowed=only, searched=len(others), chosen=None)
        more = self._ranked(rest, len(others))[0] if others else []
        scores = {**dict(more), **seen}
        known = {name: passages for name, passages in said.items() if name in scores}
        return Ranking(fused(list(seen), list(known), COUNTED), list(seen), scores, known), limit

    def _best(self, asked: Asked, found: Ranking) -> Best:
        """Find what says how sure an answer is: the scores of the best video of all pages.

        Args:
            asked: the encoded query.
            found: the ranking.
        """
        if not found.order:
            return Best()
        passages = found.said.get(found.order[0], [])
        said = max((spoken.share for spoken in passages), default=0.0)
        name = (found.seen or found.order)[0]
        score = found.scores[name]
        if asked.then is None:
            return Best(score, score, asked.without is not None, said)
        (record,) = self._look_up([name])
        return Best(score, self._over_time(asked, record, 1).sure, True)

    def background(self) -> Background | None:
        """Search for the sentences of the background, and keep the best score of each.

        Returns:
            The scores; None if there are no videos, or the encoder knows no word of any sentence.
        """
        videos, moments = [], []
        for text in sentences():
            try:
                asked = Asked(self.model.encode_query(self.library_model.encoder(), text))
            except UserError:  # the encoder knows none of its words
                continue
            ranked, _ = self._ranked(self._task(asked, Query(text, k=1)), 1)
            for record in self._look_up([name for name, _ in ranked[:1]]):
                videos.append(ranked[0][1])
                moments.append(self._over_time(asked, record, 1).sure)
        if not videos:
            return None
        return Background(Level(tuple(sorted(videos))), Level(tuple(sorted(moments))))

    # Encoding

    def _encoded(self, query: Query) -> Asked:
        encoder = self.library_model.encoder()

        def encoded(text: str | None) -> "EncodedQueries | None":
            return None if text is None else self.model.encode_query(encoder, text)

        first = encoded(query.text)
        is_text = first is not None
        if first is None:
            first = self._example(query)
        return Asked(first, encoded(query.then), encoded(query.without), is_text)

    def _example(self, query: Query) -> "EncodedQueries":
        """Make a query of the moment or the picture that a user gives."""
        from dreamprvr.search.examples import moment_query, picture_query, read_picture

        if query.image is not None:
            picture = read_picture(query.image)
            return picture_query(self.model, self.library_model.encoder(), picture)
        assert query.like is not None
        video_id, second = query.like
        record = next(iter(self._look_up([video_id])), None)
        if record is None:
            raise UserError(f"no video of the library: {quote(video_id)}")
        timeline = timeline_of(record.payload, self.library_model.settings)
        return moment_query(self.model, record, timeline, float(second))

    # Ranking

    def _ranked(self, task: Task, needed: int) -> tuple[list[tuple[str, float]], int]:
        """Rank videos by what is seen.

        Args:
            task: what is asked.
            needed: number of videos to rank.

        Returns:
            Ids and scores, best first, of at least `needed` videos if there are so many; and the
            number of videos that the engine was asked for.
        """
        again = self._scorer(task.asked)
        # A block of videos is scored again as a whole, so that the pages of an answer, which have
        # the same k, never share a video.
        block = max(task.query.k, task.query.rescored)
        limit = needed if again is None else block * -(-needed // block)
        parts = [self.model.engine_rows(part) for part in task.asked.parts]
        rows = {
            scale: np.concatenate([part[scale] for part in parts]) / len(parts)
            for scale in parts[0]
        }
        segments = np.concatenate([self.model.segment_rows(part) for part in task.asked.parts])
        graph = task.searched > SCANNED
        hits = self._hits(EngineQuery(rows, segments, limit, task.allowed, task.chosen, graph))
        if again is None:
            return [(hit.video_id, hit.score) for hit in hits], limit
        ranked = []
        for start in range(0, len(hits), block):
            names = [hit.video_id for hit in hits[start : start + block]]
            scores = [(record.video_id, again(record)) for record in self._look_up(names)]
            known = [(name, score) for name, score in scores if score is not None]
            ranked += sorted(known, key=lambda item: (-item[1], item[0]))
        return ranked, limit

    def _hits(self, query: EngineQuery) -> list[EngineHit]:
        """Ask the engine, and among equal scores at the end prefer the first ids.

        The engine takes any of them, and not always the same ones, so that a video could be on two
        pages of an answer or on none. That can still happen if more than `TIES` videos are equal.
        """
        more = query.limit + 1
        while True:
            hits = self.engine.search(replace(query, limit=more))
            is_clear = len(hits) < more or hits[-1].score < hits[query.limit - 1].score
            if is_clear or more > query.limit + TIES:
                return hits[: query.limit]
            more *= 2

    def _scorer(self, asked: Asked) -> Callable[[Record], float | None] | None:
        """Return what scores the engine's videos again; None if the engine's score is final."""
        if asked.then is not None or asked.without is not None:
            return lambda record: self._over_time(asked, record, 1).score
        if not (self.model.network.rescores and asked.is_text):
            return None
        return lambda record: self.model.rescore(asked.first, record, row_count(record.payload))

    def _look_up(self, video_ids: Sequence[str]) -> Iterable[Record]:
        return look_up(self.engine, self.model, self.store, video_ids)

    # Moments

    def _over_time(self, asked: Asked, record: Record, moments: int) -> OverTime:
        """Score a video along its time.

        Args:
            asked: the encoded query.
            record: the video with its vectors.
            moments: largest number of moments.
        """
        timeline = timeline_of(record.payload, self.library_model.settings)
        starts, ends = (tuple(part.tolist()) for part in timeline.pieces())

        def scores(part: "EncodedQueries") -> np.ndarray:
            return self.model.over_time(part, record, timeline.rows)

        def curve(values: np.ndarray, first: int = 0, stop: int | None = None) -> Curve:
            part = slice(first, stop)
            return Curve(starts[part], ends[part], tuple(values[part].tolist()))

        wanted = scores(asked.first)
        if asked.then is not None:
            later = scores(asked.then)
            both = curve(np.maximum(wanted, later))
            pair = best_pair(wanted, later)
            if pair is None:
                return OverTime(both, None, find_moments(both, 1, self.rule), -math.inf)
            cut = (pair.first + pair.second + 1) // 2
            spans = curve(wanted, 0, cut), curve(later, cut)
            found = tuple(find_moments(span, 1, self.rule)[0] for span in spans)
            sure = min(float(wanted[pair.first]), float(later[pair.second]))
            return OverTime(both, pair.score, found, sure)
        if asked.without is not None:
            wanted = without(wanted, scores(asked.without))
        shown = curve(wanted)
        best = float(wanted.max())
        score = None if asked.without is None else best
        return OverTime(shown, score, find_moments(shown, moments, self.rule), best)

    def _hit(self, rank: int, record: Record, found: Ranking, task: Task) -> Hit:
        asked, most = task.asked, task.query.moments
        count = row_count(record.payload) if most == "all" else int(most)
        over_time = self._over_time(asked, record, count)
        moments = over_time.moments
        name = record.video_id
        if name in found.said:
            spoken = tuple(
                _spoken_moment(each, over_time.curve) for each in found.said[name][:count]
            )
            # those of the ranking that has the video higher come first
            is_seen = name in found.seen[: list(found.said).index(name)]
            moments = (*moments, *spoken) if is_seen else (*spoken, *moments)
        return Hit(
            rank, library_video(name, record.payload), found.scores[name], moments,
            over_time.curve,
            self.model.register_cosines(asked.first, record) if asked.is_text else (),
        )  # fmt: skip


def _spoken_moment(spoken: Spoken, curve: Curve) -> SpokenMoment:
    """Make the moment of a passage; its score is that of what is seen in its middle."""
    start, end = spoken.passage.start, spoken.passage.end
    middle = (start + end) / 2
    piece = min(bisect_right(curve.starts, middle), len(curve.scores)) - 1
    start, end, middle = milliseconds(np.array([start, end, middle])).tolist()
    score = curve.scores[max(piece, 0)]
    return SpokenMoment(start, end, middle, score, spoken.passage.words, spoken.share)
