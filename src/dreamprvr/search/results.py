"""The result of a search, as an object, as text for people and as JSON for programs.

The JSON of a search is one object: `query`, `seconds`, `searched` and `scored` (numbers of videos,
see `SearchResult`), and `hits`, best first. A hit has `rank`, `video_id`, `title`, `path` (null if
unknown), `duration`, `score`, `metadata`, `registers` (a list of cosines, empty if the model has
none) and `moments`, best first, each with `start`, `end`, `peak` and `score`. All times are
seconds.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dreamprvr.core.text import one_line
from dreamprvr.evaluation.moments import Curve, Moment

__all__ = ["Curve", "Hit", "LibraryVideo", "Moment", "SearchResult", "clock"]


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
class Hit:
    """A video that was found.

    Args:
        rank: 1 for the best.
        video: the video.
        score: the score s(q, v) of docs/model.md, section 6; without training, the best cosine.
        moments: the moments, best first; at least one.
        curve: the score over time.
        registers: cosine of the query with each register of the video; empty if there are none.
    """

    rank: int
    video: LibraryVideo
    score: float
    moments: tuple[Moment, ...]
    curve: Curve
    registers: tuple[float, ...]


@dataclass(frozen=True)
class SearchResult:
    """The answer to one query.

    Args:
        query: the sentence.
        hits: the videos that were found, best first.
        seconds: seconds that the search took, without loading the encoder before the first one.
        searched: number of videos of the library that match the filter.
        scored: number of these that were scored exactly; the others were no candidates.
    """

    query: str
    hits: tuple[Hit, ...]
    seconds: float
    searched: int
    scored: int


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
        "hits": [_hit(hit) for hit in result.hits],
    }
    return json.dumps(content, indent=2)


def as_text(result: SearchResult) -> str:
    """Write a line for each hit: rank, score, the best moment, the video, other moments."""
    if not result.hits:
        return f"nothing found among {result.searched:,} videos"
    lines = []
    for hit in result.hits:
        best, *others = hit.moments
        also = f"  (also {', '.join(map(_span, others))})" if others else ""
        lines.append(
            f"{hit.rank:3}  {hit.score:.3f}  {_span(best)}  {one_line(hit.video.title)}{also}"
        )
    near = "" if result.scored == result.searched else f" ({result.scored:,} candidates)"
    lines.append(f"{result.searched:,} videos{near} in {1000 * result.seconds:.0f} ms")
    return "\n".join(lines)


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
        "metadata": dict(hit.video.metadata),
        "registers": list(hit.registers),
        "moments": [asdict(moment) for moment in hit.moments],
    }
