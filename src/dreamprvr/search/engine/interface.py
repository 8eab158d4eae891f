"""The interface of all engines: they keep vectors with payloads, and rank videos for a query."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from dreamprvr.core.errors import UserError

TOKENS, SEGMENTS = "tokens", "segments"


@dataclass(frozen=True)
class Layout:
    """The vectors that a model gives a video.

    Args:
        dim: D, numbers of a token and of a segment.
        scales: names of the scales of tokens.
        extras: numbers of a row of each extra, by name.

    Raises:
        UserError: two scales or extras have the same name, or a name that the engine uses.
    """

    dim: int
    scales: tuple[str, ...]
    extras: Mapping[str, int]

    def __post_init__(self) -> None:
        names = (TOKENS, SEGMENTS, *self.scales, *self.extras)
        if len(set(names)) < len(names):
            raise UserError(
                f"a library cannot keep the model's vectors ({', '.join(names[2:])}): "
                f"give each scale and each extra a name of its own, other than {TOKENS} and "
                f"{SEGMENTS}"
            )


@dataclass(frozen=True)
class Record:
    """A video as the engine keeps it, in float32.

    Args:
        video_id: id of the video; the engine derives its own ids from it (uuid5) and keeps it in
            the payload.
        tokens: tokens of unit length by scale, (M, D) each.
        segments: means of consecutive tokens, for finding candidates, of unit length, (S, D).
        extras: other matrices that the model keeps, by name; no part of the engine's score.
        payload: JSON values; filters use those under "metadata".
    """

    video_id: str
    tokens: Mapping[str, np.ndarray]
    segments: np.ndarray
    extras: Mapping[str, np.ndarray]
    payload: Mapping[str, Any]


class Allowed(NamedTuple):
    """The videos that a search may find.

    Args:
        where: allowed value, or list of allowed values, by metadata column; every column must
            match. A column with several values matches if one of them is allowed.
        only: ids of the videos that may be found; None for all.
        besides: ids of videos that may not be found.
    """

    where: Mapping[str, Any] = {}
    only: Collection[str] | None = None
    besides: Collection[str] = frozenset()


EVERY = Allowed()


@dataclass(frozen=True)
class EngineQuery:
    """A query as the engine takes it.

    Args:
        rows: rows (W, D) by scale, each of unit length times its weights. The score of a video is
            the sum over all rows of the best product with a token of the row's scale.
        segments: rows (W, D) that the segments are compared with.
        limit: largest number of videos to return.
        allowed: videos that may be found.
        candidates: number of videos that are scored exactly; None scores every video exactly.
        graph: whether to find candidates by the graph of segments, if there is one, instead of
            scanning all segments.
    """

    rows: Mapping[str, np.ndarray]
    segments: np.ndarray
    limit: int
    allowed: Allowed = EVERY
    candidates: int | None = None
    graph: bool = False


@dataclass(frozen=True)
class EngineHit:
    """A video that the engine found, with the exact score."""

    video_id: str
    score: float


class Engine(Protocol):
    """A store of videos; once `upsert` returns, its videos survive a crash of the process."""

    def upsert(self, records: Sequence[Record]) -> None:
        """Add videos; a video whose id is there already is replaced as a whole."""
        ...

    def set_payloads(self, payloads: Mapping[str, Mapping[str, Any]]) -> None:
        """Replace the payloads of videos, given by id, and leave their vectors."""
        ...

    def delete(self, video_ids: Sequence[str]) -> None:
        """Remove videos; ids that are not there are ignored."""
        ...

    def search(self, query: EngineQuery) -> list[EngineHit]:
        """Find the best videos, best first; equal scores in the order of their ids."""
        ...

    def fetch(self, video_ids: Sequence[str]) -> list[Record]:
        """Return videos with vectors in the order of `video_ids`; unknown ids are skipped."""
        ...

    def payloads(
        self, video_ids: Sequence[str] | None = None
    ) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield id and payload of the given videos, or of all for None, in any order."""
        ...

    def count(self, allowed: Allowed = EVERY) -> int:
        """Count the videos that a query of these conditions may find."""
        ...

    def compact(self) -> None:
        """Rebuild the indexes for fast searches, and free the disk space of deleted videos."""
        ...

    def close(self) -> None:
        """Release files and locks; no other method may be called afterwards."""
        ...
