"""What a search answers with."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dreamprvr.evaluation.moments import Curve, Moment

__all__ = ["Curve", "Hit", "LibraryVideo", "Moment", "SearchResult", "clock"]


@dataclass(frozen=True)
class LibraryVideo:
    """A video as the library knows it.

    Args:
        video_id: unique in the library.
        path: of the video file when it was extracted; it may be gone by now. None if unknown.
        duration: seconds.
        metadata: the columns of the CSV that was added: title, date, tags, ...
    """

    video_id: str
    path: Path | None
    duration: float
    metadata: Mapping[str, Any]

    @property
    def title(self) -> str:
        """The metadata's title, or the id."""
        return str(self.metadata.get("title") or self.video_id)


@dataclass(frozen=True)
class Hit:
    """A video that was found.

    Args:
        rank: 1 for the best.
        score: s(q, v), docs/model.md section 6; untrained, the best cosine.
        moments: best first; at least one.
        registers: cosine of the query with each register of the video; empty if untrained.
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
        hits: best first.
        seconds: the search took, without those to load the encoder before the first one.
        searched: videos that the library holds and the filter leaves.
        scored: those of them that were scored exactly; the others were no candidates.
    """

    query: str
    hits: tuple[Hit, ...]
    seconds: float
    searched: int
    scored: int


def clock(seconds: float) -> str:
    """Seconds as m:ss with at least two digits of minutes, or h:mm:ss from an hour on."""
    whole = int(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"
