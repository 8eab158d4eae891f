"""The one interface of every engine: vectors with payloads in, video ids with scores out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np


@dataclass(frozen=True)
class Record:
    """A video as the engine keeps it; all rows of unit length, float32.

    Args:
        video_id: the engine derives its own ids from it (uuid5) and keeps it in the payload.
        clips: (C, D); C = 0 if there is no clip scale (untrained search).
        frames: (M, D), M >= 1.
        segments: (S, D), S >= 1, means of consecutive rows, for finding candidates.
        registers: (R, D), for showing why; R = 0 if untrained. They take no part in the score.
        payload: JSON values; what filters look at lies under "metadata".
    """

    video_id: str
    clips: np.ndarray
    frames: np.ndarray
    segments: np.ndarray
    registers: np.ndarray
    payload: Mapping[str, Any]


@dataclass(frozen=True)
class EngineQuery:
    """A query as the engine takes it.

    Args:
        vector: (D,) float32 of unit length.
        clip_weight: w_c; the score is w_c max(clips) + w_f max(frames). 0 where videos lack clips.
        frame_weight: w_f.
        limit: videos wanted, at most.
        where: column to value, or to a list of values of which one must hold; all must match.
            The values of a list column match if any of them does.
        candidates: videos that are looked at exactly; None scores every video exactly.
        graph: find candidates by the graph of segments, if there is one, not by scanning them all.
    """

    vector: np.ndarray
    clip_weight: float
    frame_weight: float
    limit: int
    where: Mapping[str, Any]
    candidates: int | None = None
    graph: bool = False


@dataclass(frozen=True)
class EngineHit:
    """A video that the engine found, with the exact score."""

    video_id: str
    score: float


class Engine(Protocol):
    """Keeps videos durably: what `upsert` returned from survives a crash of the process."""

    def upsert(self, records: Sequence[Record]) -> None:
        """Add videos; one that is there already is replaced as a whole."""
        ...

    def set_payloads(self, payloads: Mapping[str, Mapping[str, Any]]) -> None:
        """Replace the payloads of videos, by id, and leave their vectors."""
        ...

    def delete(self, video_ids: Sequence[str]) -> None:
        """Remove videos; ids that are not there are ignored."""
        ...

    def search(self, query: EngineQuery) -> list[EngineHit]:
        """The best videos, best first; equal scores in the order of their ids."""
        ...

    def fetch(self, video_ids: Sequence[str]) -> list[Record]:
        """Videos with vectors, in the order asked; those that are not there are left out."""
        ...

    def payloads(
        self, video_ids: Sequence[str] | None = None
    ) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Id and payload of every video, or of those asked for, in no particular order."""
        ...

    def count(self, where: Mapping[str, Any] | None = None) -> int:
        """Videos that a filter leaves; all without one."""
        ...

    def compact(self) -> None:
        """Build or rebuild what makes search fast, and free what deleted videos took."""
        ...

    def close(self) -> None:
        """Let go of files and locks; afterwards nothing else may be called."""
        ...
