"""Ways to search the made-up videos: scans of all tokens, an engine, and the whole of a library."""

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple, cast
from uuid import uuid4

import numpy as np
import torch
from torch import Tensor

from benchmarks.measuring import STATUS, seconds
from benchmarks.search_videos import CLIP_WEIGHT, FRAME_WEIGHT, Queries, Videos, records
from dreamprvr.models.contract import RetrievalModel
from dreamprvr.models.encoded import EncodedQueries, EncodedVideos, QueryRows, Scale
from dreamprvr.models.scoring import score_block
from dreamprvr.search.encoding import RowSettings, SearchModel, Untrained
from dreamprvr.search.engine.edge import EdgeEngine
from dreamprvr.search.engine.interface import Engine, EngineQuery, Layout
from dreamprvr.search.model import LibraryModel
from dreamprvr.search.rows import RowStore
from dreamprvr.search.searching import Candidates, Searcher

ScanDtype = Literal["float32", "float16"]
TILE = 64  # videos whose float16 tokens are made float32 at once: 16 MB
PRODUCTS = 1e8  # bytes of products when many queries are scored at once


class Scan:
    """Clips and frames of all videos.

    Args:
        videos: the collection.
        dtype: float32 is scanned by one product; float16 halves the memory, and is made float32 a
            tile at a time, since neither library multiplies float16 fast on a CPU.
    """

    def __init__(self, videos: Videos, dtype: ScanDtype = "float32") -> None:
        self._clips = videos.clips
        tokens = videos.clips + videos.frames
        self.tokens = torch.empty(videos.count, tokens, videos.dim, dtype=getattr(torch, dtype))

    def add(self, start: int, clips: np.ndarray, frames: np.ndarray) -> None:
        """Keep videos (B, C, D) and (B, M, D) from position `start` on."""
        here = self.tokens[start : start + len(clips)]
        here[:, : self._clips] = torch.from_numpy(clips)
        here[:, self._clips :] = torch.from_numpy(frames)

    @property
    def bytes(self) -> int:
        """Of all tokens."""
        return self.tokens.nbytes

    def torch(self, query: np.ndarray, limit: int, allowed: np.ndarray | None = None) -> np.ndarray:
        """Positions of the best videos for (D,), best first, among those allowed or all."""
        column = torch.from_numpy(query)
        scores = torch.cat([
            self._weigh(tile.float().flatten(0, 1).mv(column).view(len(tile), -1))
            for tile in self._tiles(allowed)
        ])  # fmt: skip
        best = scores.topk(min(limit, len(scores))).indices.numpy()
        return best if allowed is None else allowed[best]

    def numpy(self, query: np.ndarray, limit: int) -> np.ndarray:
        """The same by numpy, among all videos."""
        found = []
        for tile in self._tiles(None):
            rows = tile.numpy().astype(np.float32, copy=False)
            products = (rows.reshape(-1, rows.shape[2]) @ query).reshape(len(rows), -1)
            clip, frame = products[:, : self._clips], products[:, self._clips :]
            found.append(CLIP_WEIGHT * clip.max(axis=1) + FRAME_WEIGHT * frame.max(axis=1))
        scores = np.concatenate(found)
        limit = min(limit, len(scores))
        best = np.argpartition(-scores, limit - 1)[:limit]
        return best[np.argsort(-scores[best])]

    def batch(self, queries: np.ndarray) -> np.ndarray:
        """Scores (Q, V) of many queries at once, as the evaluation computes them."""
        asked = torch.from_numpy(queries)
        clips, frames = self.tokens[:, : self._clips], self.tokens[:, self._clips :]
        clip = score_block(asked, clips, None, False, PRODUCTS).score
        frame = score_block(asked, frames, None, False, PRODUCTS).score
        return (CLIP_WEIGHT * clip + FRAME_WEIGHT * frame).numpy()

    def _weigh(self, products: Tensor) -> Tensor:
        clip, frame = products[:, : self._clips].amax(1), products[:, self._clips :].amax(1)
        return CLIP_WEIGHT * clip + FRAME_WEIGHT * frame

    def _tiles(self, allowed: np.ndarray | None) -> Iterator[Tensor]:
        rows = self.tokens if allowed is None else self.tokens[torch.from_numpy(allowed)]
        yield from rows.split(TILE) if rows.dtype == torch.float16 else [rows]


WRITTEN = 64  # videos at once, as `lightning index` writes them
EDGE, MEMORY = "edge", "memory"


class Build(NamedTuple):
    """Seconds that an engine took to keep all videos, without those to make them up."""

    write: float
    compact: float


def layout(dim: int) -> Layout:
    """Vectors of a video, without registers."""
    return Layout(dim, ("clips", "frames"), {})


def create(name: str, folder: Path, dim: int) -> Engine:
    """An empty engine.

    Args:
        name: "edge"; the address of a Qdrant server; or "memory" for the server's stand-in in its
            Python client, which computes the same, slowly.
        folder: of the embedded engine.
        dim: of vectors.
    """
    if name == EDGE:
        return EdgeEngine.create(folder, layout(dim))
    from qdrant_client import QdrantClient

    from dreamprvr.search.engine.remote import RemoteEngine, connect

    client = QdrantClient(":memory:") if name == MEMORY else connect(name)
    return RemoteEngine.create(client, f"dreamprvr-benchmark-{uuid4().hex}", layout(dim))


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
    rows = {"clips": CLIP_WEIGHT * query[None], "frames": FRAME_WEIGHT * query[None]}
    return EngineQuery(rows, query[None], limit, where or {}, candidates, graph)


def disk_bytes(folder: Path) -> int:
    """Count the bytes that files take on the disk, which holes do not add to."""
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
    engine = EdgeEngine(folder, layout(queries.shape[1]))
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


FOUND = 10  # videos shown, each with its curve and moments


class GivenTokens(Untrained):
    """Takes clips and frames as tokens, as they are."""

    scales = ("clips", "frames")

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.config = RowSettings(num_clips=32)

    @property
    def scale_weights(self) -> dict[str, float]:
        """Give the weights of the configurations."""
        return {"clips": CLIP_WEIGHT, "frames": FRAME_WEIGHT}

    def encode_videos(self, clips: Tensor, frames: Tensor, frame_mask: Tensor) -> EncodedVideos:
        """Give both as they are."""
        return EncodedVideos({"clips": Scale(clips), "frames": Scale(frames, frame_mask)}, {})


class NumberedQueries(SearchModel):
    """A model whose sentences are the numbers of queries that are encoded already.

    Args:
        vectors: vectors of the queries, (Q, D).
        network: the model; by default one whose frames alone are scored.
    """

    def __init__(self, vectors: np.ndarray, network: RetrievalModel | None = None) -> None:
        super().__init__(network or Untrained(vectors.shape[1]))
        self._vectors = torch.from_numpy(vectors)

    def encode_query(self, encoder: Any, text: str) -> EncodedQueries:
        """Give the vector of query number `text`."""
        vector = self._vectors[int(text)][None]
        rows = QueryRows(vector[None], torch.ones(1, 1))
        return EncodedQueries(vector, dict.fromkeys(self.network.scales, rows), {})


def searcher(engine: Engine, model: SearchModel, store: RowStore | None = None) -> Searcher:
    """Return what searches a library of one row a second, apart from the encoder's text side."""
    settings = SimpleNamespace(stride=1.0, window=1.0)
    known = SimpleNamespace(model=model, settings=settings, encoder=lambda: None)
    return Searcher(engine, cast("LibraryModel", known), store=store)


def text_side(tokens: int = 12) -> Callable[[], object]:
    """A sentence through the text side of CLIP ViT-B/32: its sizes, not its weights."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    model = CLIPTextModelWithProjection(CLIPTextConfig()).eval()
    ids = torch.arange(1, tokens + 1)[None]

    def encode() -> object:
        with torch.inference_mode():
            return model(input_ids=ids)

    return encode


def library_search(
    engine: Engine, queries: Queries, candidates: Candidates
) -> Callable[[int], list[int]]:
    """Rank, fetch the best videos, find moments on their curves, count what was searched."""
    asking = searcher(
        engine, NumberedQueries(queries.vectors, GivenTokens(queries.vectors.shape[1]))
    )

    def search(number: int) -> list[int]:
        result = asking.search(str(number), FOUND, {}, 3, None, candidates)
        return [int(hit.video.video_id[1:]) for hit in result.hits]

    return search
