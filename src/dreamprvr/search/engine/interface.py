"""The one interface of every engine: vectors with payloads in, video ids with scores out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

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
        UserError: two of them have the same name.
    """

    dim: int
    scales: tuple[str, ...]
    extras: Mapping[str, int]

    def __post_init__(self) -> None:
        names = (TOKENS, SEGMENTS, *self.scales, *self.extras)
        if len(set(names)) < len(names):
            raise UserError(
                f"a library cannot keep what the model makes of a video ({', '.join(names[2:])}): "
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
        extras: what else the model keeps, by name, a matrix each; no part of the engine's score.
        payload: JSON values; what filters look at lies under "metadata".
    """

    video_id: str
    tokens: Mapping[str, np.ndarray]
    segments: np.ndarray
    extras: Mapping[str, np.ndarray]
    payload: Mapping[str, Any]


@dataclass(frozen=True)
class EngineQuery:
    """A query as the engine takes it.

    Args:
        rows: rows (W, D) by scale, each of unit length times its weights. The score of a video is
            the sum over all rows of the best product with a token of the row's scale.
        segments: rows (W, D) that the segments are asked with.
        limit: videos wanted, at most.
        where: column to value, or to a list of values of which one must hold; all must match.
            The values of a list column match if any of them does.
        candidates: videos that are looked at exactly; None scores every video exactly.
        graph: find candidates by the graph of segments, if there is one, not by scanning them all.
    """

    rows: Mapping[str, np.ndarray]
    segments: np.ndarray
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
        """Find the best videos, best first; equal scores in the order of their ids."""
        ...

    def fetch(self, video_ids: Sequence[str]) -> list[Record]:
        """Give videos with vectors, in the order asked, without those that are not there."""
        ...

    def payloads(
        self, video_ids: Sequence[str] | None = None
    ) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Give id and payload of every video, or of those asked for, in no particular order."""
        ...

    def count(self, where: Mapping[str, Any] | None = None) -> int:
        """Count the videos that a filter leaves; all without one."""
        ...

    def compact(self) -> None:
        """Build or rebuild what makes search fast, and free what deleted videos took."""
        ...

    def close(self) -> None:
        """Let go of files and locks; afterwards nothing else may be called."""
        ...
