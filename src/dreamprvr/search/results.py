"""The result of a search, as an object, as text for people and as JSON for programs.

The JSON of a search is one object: `query`, `seconds`, `searched` and `scored` (numbers of videos),
`strength`, `confidence`, `low` and `high` (see `SearchResult`), and `hits`, best first. A hit has
`rank`, `video_id`, `title`, `path` (null if unknown), `duration`, `score`, `relevance`, `metadata`,
`registers` (a list of cosines, empty if the model has none) and `moments`, best first, each with
`start`, `end`, `peak` and `score`, and for spoken words `words` and `share`. All times are seconds.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from dreamprvr.core.text import one_line, shorten
from dreamprvr.evaluation.moments import Curve, Moment
from dreamprvr.search.background import Background, Strength, strength_of

SURE = 0.9  # share of a sentence that makes spoken words a strong match
__all__ = ["Curve", "Hit", "LibraryVideo", "Moment", "SearchResult", "SpokenMoment", "clock"]


@dataclass(frozen=True)
class LibraryVideo:
    """A video of a library.

    Args:
        video_id: id of the video, unique in the library.
        path: path of the video file when it was extracted; it may be gone by now. None if unknown.
        duration: seconds.
        metadata: columns of the CSV that was added, such as title, date and tags.
    """

    video_id: str
    path: Path | None
    duration: float
    metadata: Mapping[str, Any]

    @property
    def title(self) -> str:
        """Return the title in the metadata, or else the id."""
        return str(self.metadata.get("title") or self.video_id)


@dataclass(frozen=True)
class SpokenMoment(Moment):
    """A moment that was found by its words in the video's subtitles.

    Args:
        words: what is said.
        share: share of the sentence that is said, weighted by how rare its words are, 0 to 1.
    """

    words: str
    share: float


@dataclass(frozen=True)
class Hit:
    """A video that was found.

    Args:
        rank: 1 for the best.
        video: the video.
        score: the score s(q, v) of docs/model.md, section 6; without training, the best cosine.
        moments: the moments, best first; at least one. Those of spoken words are `SpokenMoment`s.
            For two sentences one after the other, the moment of each, in their order.
        curve: the score over time.
        registers: cosine of the query with each register of the video; empty if there are none.
        relevance: the score on a scale from 0, what a sentence scores that no video shows, to 100,
            the best score of the answer, or the least score of a strong match if that is higher;
            of spoken words at least their share of the sentence, in percent.
    """

    rank: int
    video: LibraryVideo
    score: float
    moments: tuple[Moment, ...]
    curve: Curve
    registers: tuple[float, ...]
    relevance: int = 0


@dataclass(frozen=True)
class SearchResult:
    """The answer to one query.

    Args:
        query: the sentence, or what else was searched for, in words.
        hits: the videos that were found, best first.
        seconds: seconds that the search took, without loading the encoder before the first one.
        searched: number of videos of the library that match the filter.
        scored: number of these that were scored exactly; the others were no candidates.
        strength: how sure the first result is: "strong", "fair" or "weak"; None if that is not
            known, as for a search by a moment or a picture.
        confidence: share of the background's sentences that score lower, 0 to 1; None likewise.
        low: score at which all curves of the answer begin to be of interest.
        high: score at which the scale of all curves ends.
    """

    query: str
    hits: tuple[Hit, ...]
    seconds: float
    searched: int
    scored: int
    strength: Strength | None = None
    confidence: float | None = None
    low: float = 0.0
    high: float = 1.0


class Best(NamedTuple):
    """The best video of an answer, on whatever page it is.

    Args:
        score: its score; None if nothing was found.
        sure: score that says how sure the match is.
        over_time: whether both are scores over time, and not of videos.
        said: share of the sentence that is said in the first video; 0 if it was not found by this.
    """

    score: float | None = None
    sure: float = 0.0
    over_time: bool = False
    said: float = 0.0


def judged(result: SearchResult, best: Best, background: Background | None) -> SearchResult:
    """Say how sure an answer is, and put its scores on one scale.

    Args:
        result: the answer.
        best: its best video.
        background: scores of sentences that have nothing to do with the library; None if scores
            cannot be compared with these.
    """
    if best.score is None:
        return result
    pieces = [score for hit in result.hits for score in hit.curve.scores] or [best.score]
    low, high = min(pieces), max(pieces)
    least, top, share = 0.0, best.score, None
    if background is not None:
        level = background.moments if best.over_time else background.videos
        low, high = background.moments.middle, max(high, background.moments.bound)
        least, top = level.middle, max(top, level.bound)
        share = level.share_below(best.sure)
    hits = tuple(
        replace(hit, relevance=max(_percent(hit.score, least, top), _percent(_said(hit), 0, 1)))
        for hit in result.hits
    )
    strength = None if share is None else strength_of(share)
    if best.said:
        strength = "strong" if strength == "strong" or best.said >= SURE else "fair"
    return replace(result, hits=hits, strength=strength, confidence=share, low=low, high=high)


def _said(hit: Hit) -> float:
    """Return the largest share of the sentence that a moment's words hold."""
    return max((m.share for m in hit.moments if isinstance(m, SpokenMoment)), default=0.0)


def _percent(score: float, low: float, high: float) -> int:
    """Place a score between two others, as a whole number from 0 to 100."""
    if high <= low:
        return 100 if score > low else 0
    return round(100 * min(max((score - low) / (high - low), 0), 1))


def clock(seconds: float) -> str:
    """Write seconds as m:ss with at least two digits of minutes, or h:mm:ss from an hour on."""
    whole = int(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"


def as_json(result: SearchResult) -> str:
    """Write the result of a search as JSON."""
    content = {
        "query": result.query,
        "seconds": result.seconds,
        "searched": result.searched,
        "scored": result.scored,
        "strength": result.strength,
        "confidence": result.confidence,
        "low": result.low,
        "high": result.high,
        "hits": [_hit(hit) for hit in result.hits],
    }
    return json.dumps(content, indent=2)


def as_text(result: SearchResult) -> str:
    """Write a line for each hit: rank, relevance, the best moment, the video, other moments."""
    if not result.hits:
        return f"nothing found among {result.searched:,} videos"
    lines = []
    for hit in result.hits:
        best, *others = hit.moments
        also = f"  (also {', '.join(map(_span, others))})" if others else ""
        said = f'  "{one_line(shorten(best.words, 80))}"' if isinstance(best, SpokenMoment) else ""
        title = one_line(hit.video.title)
        lines.append(f"{hit.rank:3}  {hit.relevance:3}  {_span(best)}  {title}{said}{also}")
    if result.strength is not None:
        lines.append(_sure(result))
    near = "" if result.scored == result.searched else f" ({result.scored:,} candidates)"
    lines.append(f"{result.searched:,} videos{near} in {1000 * result.seconds:.0f} ms")
    return "\n".join(lines)


def _sure(result: SearchResult) -> str:
    """Say in a line how sure an answer is, and why."""
    matches = "match" if len(result.hits) == 1 else "matches"
    reasons = []
    if isinstance(result.hits[0].moments[0], SpokenMoment):
        reasons.append(f"subtitles say {int(100 * _said(result.hits[0]))}% of the sentence")
    if result.confidence is not None:
        share = int(100 * result.confidence)
        reasons.append(f"{share}% of random sentences score lower than the best pictures")
    return f"{result.strength} {matches}: {'; '.join(reasons)}"


def video_line(video: LibraryVideo) -> str:
    """Write a video as a line of a list: id, length, metadata."""
    columns = (
        f"{column}={';'.join(map(str, held)) if isinstance(held, list) else held}"
        for column, held in video.metadata.items()
    )
    return one_line("  ".join([video.video_id, clock(video.duration), *columns]))


def _span(moment: Moment) -> str:
    return f"{clock(moment.start)}-{clock(moment.end)}"


def _hit(hit: Hit) -> dict[str, Any]:
    return {
        "rank": hit.rank,
        "video_id": hit.video.video_id,
        "title": hit.video.title,
        "path": None if hit.video.path is None else str(hit.video.path),
        "duration": hit.video.duration,
        "score": hit.score,
        "relevance": hit.relevance,
        "metadata": dict(hit.video.metadata),
        "registers": list(hit.registers),
        "moments": [asdict(moment) for moment in hit.moments],
    }
