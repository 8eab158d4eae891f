"""Results as text for people and as JSON for programs.

The JSON of a search is one object: `query`, `seconds`, `searched` and `scored` (numbers of videos,
see `SearchResult`), and `hits`, best first. A hit has `rank`, `video_id`, `title`, `path` (null if
unknown), `duration`, `score`, `metadata`, `registers` (a list of cosines, empty if untrained) and
`moments`, best first, each with `start`, `end`, `peak` and `score`. All times are seconds.
"""

import json
from dataclasses import asdict
from typing import Any

from dreamprvr.core.text import one_line
from dreamprvr.search.results import Hit, LibraryVideo, Moment, SearchResult, clock


def as_json(result: SearchResult) -> str:
    """A search's answer as JSON."""
    content = {
        "query": result.query,
        "seconds": result.seconds,
        "searched": result.searched,
        "scored": result.scored,
        "hits": [_hit(hit) for hit in result.hits],
    }
    return json.dumps(content, indent=2)


def as_text(result: SearchResult) -> str:
    """A search's answer as lines: rank, score, the best moment, the video, other moments."""
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
    """A video in a list: id, length, metadata."""
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
