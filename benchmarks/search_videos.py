"""Make up videos and queries whose true answers are hard to find, a few videos at a time.

An event is a random direction: a concept, which many videos share, and a part of its own. A video
shows a few events for some frames each, and every frame adds noise. A query is the concept of one
event of its true video, a little of the event's own part, and noise. So other videos with the same
concept score nearly as high, and a short event counts little in the mean of a segment, as in real
videos.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np
from einops import reduce

from data_modules.loading.pooling import pool
from dreamprvr.search.catalogue import SOURCE
from dreamprvr.search.encoding import SEGMENTS
from dreamprvr.search.engine.interface import Record
from dreamprvr.search.engine.points import METADATA

PART = 250  # number of videos that are made at once
SHELVES = 20  # a filter keeps one video of 20
CLIP_WEIGHT, FRAME_WEIGHT = 0.6, 0.4  # as in the configurations


class Part(NamedTuple):
    """Consecutive videos from position `start` on; rows have unit length and are float32."""

    start: int
    clips: np.ndarray  # (B, C, D)
    frames: np.ndarray  # (B, M, D)


class Queries(NamedTuple):
    """Queries and their true videos."""

    vectors: np.ndarray  # (Q, D) of unit length, float32
    true: np.ndarray  # (Q,), positions of videos


class Words(NamedTuple):
    """A row for each word of some queries."""

    vectors: np.ndarray  # (Q, W, D) of unit length, float32
    weights: np.ndarray  # (Q, W), which add up to 1 for each query, float32


def words(queries: Queries, count: int = 12, noise: float = 1.0) -> Words:
    """Make up the words of queries, as a model with a row for each word would encode them.

    Every second word is the vector of the query with noise of its own; the others have nothing to
    do with any event, and weigh less.

    Args:
        queries: the queries.
        count: W, number of words of a query.
        noise: length of the noise of a word, where the query has length 1.
    """
    random = np.random.default_rng((3, 0))
    shape = (*queries.vectors.shape[:1], count, queries.vectors.shape[1])
    content = (np.arange(count) % 2 == 0).astype(np.float32)
    own = noise * random.standard_normal(shape, np.float32) / np.float32(np.sqrt(shape[2]))
    vectors = unit(content[:, None] * queries.vectors[:, None] + own)
    weights = np.exp(random.standard_normal(shape[:2], np.float32) + content)
    return Words(vectors, weights / weights.sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class Videos:
    """A collection of videos; the same arguments give the same videos.

    Args:
        count: number of videos, V.
        dim: size of a row, D.
        clips: number of clips of a video.
        frames: number of frames of a video, a multiple of `clips`.
        concepts: number of concepts.
        events: number of events of a video.
        shortest: smallest number of frames of an event.
        event_noise: length of an event's own part, where a concept has length 1.
        frame_noise: length of the noise of a frame.
        query_own: share of the event's own part in a query.
        query_noise: length of the noise of a query.
    """

    count: int
    dim: int = 384
    clips: int = 32
    frames: int = 128
    concepts: int = 1000
    events: int = 6
    shortest: int = 3
    event_noise: float = 0.7
    frame_noise: float = 0.8
    query_own: float = 0.15
    query_noise: float = 1.2

    def parts(self) -> Iterator[Part]:
        """Yield all videos in order."""
        for number in range(-(-self.count // PART)):
            random, concept, own = self._events(number)
            events = concept + self.event_noise * own
            frames = unit(events)[np.arange(len(events))[:, None], self._timeline(random, events)]
            frames += self.frame_noise * self._noise(random, frames.shape)
            clips = reduce(frames, "b (c m) d -> b c d", "mean", c=self.clips)
            yield Part(number * PART, unit(clips), unit(frames))

    def queries(self, count: int) -> Queries:
        """Make queries for random videos."""
        random = np.random.default_rng((1, 0))
        true = random.integers(self.count, size=count)
        event = random.integers(self.events, size=count)
        vectors = np.empty((count, self.dim), np.float32)
        for number in np.unique(true // PART):
            _, concept, own = self._events(int(number))
            here = np.flatnonzero(true // PART == number)
            at = (true[here] % PART, event[here])
            vectors[here] = concept[at] + self.query_own * own[at]
        vectors += self.query_noise * self._noise(random, vectors.shape)
        return Queries(unit(vectors), true)

    def _events(self, number: int) -> tuple[np.random.Generator, np.ndarray, np.ndarray]:
        """Return the generator of a part, and its events' concepts and own parts, (B, E, D)."""
        bank = unit(np.random.default_rng((0, 0)).standard_normal((self.concepts, self.dim)))
        random = np.random.default_rng((2, number))
        videos = min(PART, self.count - number * PART)
        chosen = random.integers(self.concepts, size=(videos, self.events))
        return random, bank[chosen], self._noise(random, (videos, self.events, self.dim))

    def _timeline(self, random: np.random.Generator, events: np.ndarray) -> np.ndarray:
        """Draw the event of each frame, (B, M); an event lasts at least `shortest` frames."""
        spare = self.frames - self.events * self.shortest
        cuts = np.sort(random.integers(spare + 1, size=(len(events), 1, self.events - 1)))
        cuts += self.shortest * np.arange(1, self.events)
        return (np.arange(self.frames)[:, None] >= cuts).sum(axis=2)

    def _noise(self, random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Draw random vectors of length about 1."""
        return random.standard_normal(shape, np.float32) / np.float32(np.sqrt(self.dim))


def video_id(video: int) -> str:
    """Return the id of a video; the order of ids is that of the videos."""
    return f"v{video:08d}"


def shelf(video: int) -> dict[str, str]:
    """Return a filter that keeps a video and others: one video of `SHELVES`."""
    return {"shelf": str(video % SHELVES)}


def unit(rows: np.ndarray) -> np.ndarray:
    """Divide rows by their length, in float32."""
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def records(part: Part) -> Sequence[Record]:
    """Return the videos of a part in the form of an engine, without registers."""
    return [
        Record(
            video_id(part.start + i), {"clips": clips, "frames": frames},
            unit(pool(frames, SEGMENTS)), {}, payload(part.start + i, len(frames)),
        )
        for i, (clips, frames) in enumerate(zip(part.clips, part.frames, strict=True))
    ]  # fmt: skip


def payload(video: int, rows: int) -> dict[str, Any]:
    """Return the payload of a video in a library with a row for each second."""
    source = {
        "path": "", "size": 0, "mtime_ns": 0, "start": 0.0, "duration": float(rows), "rows": rows,
        "digest": uuid4().hex, "warning": "",
    }  # fmt: skip
    return {SOURCE: source, METADATA: shelf(video)}
