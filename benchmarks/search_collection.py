"""The videos in an engine: built, sized, and opened by a process of its own to see its memory."""

import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np

from benchmarks.search_scans import Scan
from benchmarks.search_videos import CLIP_WEIGHT, FRAME_WEIGHT, Videos, records
from benchmarks.timing import STATUS, seconds
from dreamprvr.search.edge_engine import EdgeEngine
from dreamprvr.search.engine import Engine, EngineQuery

WRITTEN = 64  # videos at once, as `lightning index` writes them
EDGE, MEMORY = "edge", "memory"


class Build(NamedTuple):
    """Seconds that an engine took to keep all videos, without those to make them up."""

    write: float
    compact: float


def create(name: str, folder: Path, dim: int) -> Engine:
    """An empty engine.

    Args:
        name: "edge"; the address of a Qdrant server; or "memory" for the server's stand-in in its
            Python client, which computes the same, slowly.
        folder: of the embedded engine.
        dim: of vectors.
    """
    if name == EDGE:
        return EdgeEngine.create(folder, dim)
    from qdrant_client import QdrantClient

    from dreamprvr.search.remote_engine import RemoteEngine, connect

    client = QdrantClient(":memory:") if name == MEMORY else connect(name)
    return RemoteEngine.create(client, f"dreamprvr-benchmark-{uuid4().hex}", dim)


def fill(engine: Engine, videos: Videos, scan: Scan) -> Build:
    """Put all videos into an engine and a scan; tokens are made up a part at a time."""
    write = 0.0
    for part in videos.parts():
        scan.add(*part)
        made = records(part)
        for start in range(0, len(made), WRITTEN):
            batch = made[start : start + WRITTEN]
            write += seconds(partial(engine.upsert, batch))
    return Build(write, seconds(engine.compact))


def asked(
    query: np.ndarray,
    limit: int,
    candidates: int | None,
    where: dict[str, str] | None = None,
    graph: bool = False,
) -> EngineQuery:
    """A query with the weights of the configurations."""
    return EngineQuery(query, CLIP_WEIGHT, FRAME_WEIGHT, limit, where or {}, candidates, graph)


def disk_bytes(folder: Path) -> int:
    """What files take on the disk, which is less than their length where they have holes."""
    return sum(512 * path.stat().st_blocks for path in folder.rglob("*") if path.is_file())


class Opened(NamedTuple):
    """An engine in a process of its own.

    Args:
        open_seconds: until it can be asked.
        first_seconds: of the first query.
        stages: after each, resident bytes that are the process's own, and those that are pages of
            the engine's files, which the system may take back; it maps each twice, and both count.
    """

    open_seconds: float
    first_seconds: float
    stages: dict[str, dict[str, int | None]]


def opened(folder: Path, queries: np.ndarray, limit: int, candidates: int) -> Opened:
    """Open an engine, search by candidates, then exactly; call it in a fresh process."""
    before = _resident()
    begin = time.perf_counter()
    engine = EdgeEngine(folder, queries.shape[1])
    ready = time.perf_counter()
    engine.search(asked(queries[0], limit, candidates))
    first = time.perf_counter()
    stages = {"before": before}
    _ask(engine, queries, limit, candidates)
    stages["candidates"] = _resident()
    _ask(engine, queries[:2], limit, None)
    stages["exact"] = _resident()
    engine.close()
    return Opened(ready - begin, first - ready, stages)


def _ask(engine: Engine, queries: Iterable[np.ndarray], limit: int, count: int | None) -> None:
    for query in queries:
        engine.search(asked(query, limit, count))


def _resident() -> dict[str, Any]:
    """Bytes by kind; empty where the system does not say."""
    lines = STATUS.read_text(encoding="utf-8").splitlines() if STATUS.exists() else []
    kinds = {"RssAnon": "own", "RssFile": "file pages"}
    found = dict(line.partition(":")[::2] for line in lines)
    return {kinds[name]: int(found[name].split()[0]) * 1024 for name in kinds if name in found}
