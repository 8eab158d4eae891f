"""Random videos for engines, and the score written down plainly."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from qdrant_client import QdrantClient

from dreamprvr.search.engine.edge import EdgeEngine
from dreamprvr.search.engine.interface import Engine, EngineQuery, Layout, Record
from dreamprvr.search.engine.remote import RemoteEngine

DIM = 24
LAYOUT = Layout(DIM, ("clips", "frames"), {"registers": DIM})
WORDS = Layout(DIM, ("frames", "shots", "scenes"), {"keys": 7, "lengths": 1})
KINDS = ("edge", "remote")


def engine(kind: str, folder: Path, layout: Layout = LAYOUT) -> Engine:
    """An empty engine; the remote one is Qdrant's own in memory."""
    if kind == "edge":
        return EdgeEngine.create(folder / "engine", layout)
    return RemoteEngine.create(QdrantClient(":memory:"), "videos", layout)


def unit(random: np.random.Generator, rows: int) -> np.ndarray:
    """Rows of unit length."""
    found = random.standard_normal((rows, DIM))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def record(number: int, version: int = 0, clips: bool = True, layout: Layout = LAYOUT) -> Record:
    """A video of 1 to 40 frames, in one of three groups."""
    random = np.random.default_rng([number, version])
    frames = unit(random, int(random.integers(1, 41)))
    nothing = np.empty((0, DIM), np.float32)
    tags = ["even" if number % 2 == 0 else "odd", f"t{number % 3}"]
    payload = {"metadata": {"group": str(number % 5), "tags": tags}, "version": version}
    tokens = {
        scale: frames if scale == "frames"
        else (unit(random, int(random.integers(1, 9))) if clips else nothing)
        for scale in layout.scales
    }  # fmt: skip
    extras = {
        name: random.standard_normal((4 if clips else 0, size)).astype(np.float32)
        for name, size in layout.extras.items()
    }
    return Record(f"video {number}", tokens, unit(random, 8), extras, payload)


def query(**changes: Any) -> EngineQuery:
    """A query of two scales for ten videos; `weights` are those of clips and frames."""
    vector = unit(np.random.default_rng(7), 1)
    weights = changes.pop("weights", (0.6, 0.4))
    rows = {
        scale: weight * vector
        for scale, weight in zip(("clips", "frames"), weights, strict=True)
        if weight
    }
    settings = {"rows": rows, "segments": vector, "limit": 10}
    return EngineQuery(**{**settings, **changes})


def score(video: Record, asked: EngineQuery) -> float:
    """The sum over rows of the best product with a token of the row's scale."""
    return sum(
        float((video.tokens[scale].astype(np.float64) @ rows.T).max(axis=0).sum())
        for scale, rows in asked.rows.items()
    )


def best(videos: Sequence[Record], asked: EngineQuery) -> list[tuple[str, float]]:
    """Return the answer that the engine should give without a filter."""
    scores = [(video.video_id, score(video, asked)) for video in videos]
    return sorted(scores, key=lambda item: -item[1])[: asked.limit]


def arrays(video: Record) -> dict[str, np.ndarray]:
    """All vectors of a video by name."""
    return {**video.tokens, "segments": video.segments, **video.extras}
