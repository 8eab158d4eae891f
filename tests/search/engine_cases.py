"""Random videos for engines, and the score written down plainly."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from qdrant_client import QdrantClient

from dreamprvr.search.edge_engine import EdgeEngine
from dreamprvr.search.engine import Engine, EngineQuery, Record
from dreamprvr.search.remote_engine import RemoteEngine

DIM = 24
KINDS = ("edge", "remote")


def engine(kind: str, folder: Path) -> Engine:
    """An empty engine; the remote one is Qdrant's own in memory."""
    if kind == "edge":
        return EdgeEngine.create(folder / "engine", DIM)
    return RemoteEngine.create(QdrantClient(":memory:"), "videos", DIM)


def unit(random: np.random.Generator, rows: int) -> np.ndarray:
    """Rows of unit length."""
    found = random.standard_normal((rows, DIM))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def record(number: int, version: int = 0, clips: bool = True) -> Record:
    """A video of 1 to 40 frames, in one of three groups."""
    random = np.random.default_rng([number, version])
    frames = unit(random, int(random.integers(1, 41)))
    nothing = np.empty((0, DIM), np.float32)
    tags = ["even" if number % 2 == 0 else "odd", f"t{number % 3}"]
    payload = {"metadata": {"group": str(number % 5), "tags": tags}, "version": version}
    return Record(
        f"video {number}", unit(random, int(random.integers(1, 9))) if clips else nothing, frames,
        unit(random, 8), unit(random, 4) if clips else nothing, payload,
    )  # fmt: skip


def query(**changes: Any) -> EngineQuery:
    """A query of two scales for ten videos."""
    settings = {
        "vector": unit(np.random.default_rng(7), 1)[0], "clip_weight": 0.6, "frame_weight": 0.4,
        "limit": 10, "where": {},
    }  # fmt: skip
    return EngineQuery(**{**settings, **changes})


def score(video: Record, asked: EngineQuery) -> float:
    """w_c max(clips) + w_f max(frames), in double precision."""
    total = 0.0
    for weight, rows in ((asked.clip_weight, video.clips), (asked.frame_weight, video.frames)):
        if weight:
            total += weight * float((rows.astype(np.float64) @ asked.vector).max())
    return total


def best(videos: Sequence[Record], asked: EngineQuery) -> list[tuple[str, float]]:
    """What the engine should answer, without a filter."""
    scores = [(video.video_id, score(video, asked)) for video in videos]
    return sorted(scores, key=lambda item: -item[1])[: asked.limit]
