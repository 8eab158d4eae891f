"""Ways to search the made-up videos: scans of all tokens, an engine, and a whole library."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, cast
from uuid import uuid4

import numpy as np
import torch
from torch import Tensor

from benchmarks.measuring import seconds, status_bytes
from benchmarks.search_videos import CLIP_WEIGHT, FRAME_WEIGHT, Queries, Videos, Words, records
from dreamprvr.models.contract import RetrievalModel
from dreamprvr.models.encoded import EncodedQueries, EncodedVideos, QueryRows, Scale
from dreamprvr.models.layers.basic import unit
from dreamprvr.models.ms_sl import MSSL, MSSLConfig
from dreamprvr.models.ms_sl.network import window_means
from dreamprvr.models.scoring import best_tokens, score_block
from dreamprvr.search.encoding import RowSettings, SearchModel, Untrained
from dreamprvr.search.engine.edge import EdgeEngine
from dreamprvr.search.engine.interface import Allowed, Engine, EngineQuery, Layout
from dreamprvr.search.model import LibraryModel
from dreamprvr.search.queries import Candidates, Query
from dreamprvr.search.rows import RowStore
from dreamprvr.search.searching import Searcher

ScanDtype = Literal["float32", "float16"]
TILE = 64  # videos whose float16 tokens are made float32 at once: 16 MB
SHARPNESS = 10.0  # factor of the logits that MS-SL's made-up keys give
PRODUCTS = 1e8  # bytes of products when many queries are scored at once


class Scan:
    """Clips and frames of all videos in one tensor.

    Args:
        videos: the collection.
        dtype: float32 is scanned by one product. float16 halves the memory and becomes float32 a
            tile at a time, because torch and numpy multiply float16 slowly on a CPU.
    """

    def __init__(self, videos: Videos, dtype: ScanDtype = "float32") -> None:
        self._clips = videos.clips
        tokens = videos.clips + videos.frames
        self.tokens = torch.empty(videos.count, tokens, videos.dim, dtype=getattr(torch, dtype))

    def add(self, start: int, clips: np.ndarray, frames: np.ndarray) -> None:
        """Copy clips (B, C, D) and frames (B, M, D) of videos from position `start` on."""
        here = self.tokens[start : start + len(clips)]
        here[:, : self._clips] = torch.from_numpy(clips)
        here[:, self._clips :] = torch.from_numpy(frames)

    @property
    def bytes(self) -> int:
        """Return the bytes of all tokens."""
        return self.tokens.nbytes

    def torch(self, query: np.ndarray, limit: int, allowed: np.ndarray | None = None) -> np.ndarray:
        """Return positions of the best videos for a query (D,), best first.

        Args:
            query: vector of the query.
            limit: largest number of videos.
            allowed: positions of the videos to search; all if None.
        """
        column = torch.from_numpy(query)
        scores = torch.cat([
            self._weigh(tile.float().flatten(0, 1).mv(column).view(len(tile), -1))
            for tile in self._tiles(allowed)
        ])  # fmt: skip
        best = scores.topk(min(limit, len(scores))).indices.numpy()
        return best if allowed is None else allowed[best]

    def numpy(self, query: np.ndarray, limit: int) -> np.ndarray:
        """Search all videos with numpy; arguments as for `torch`."""
        parts = []
        for tile in self._tiles(None):
            rows = tile.numpy().astype(np.float32, copy=False)
            products = (rows.reshape(-1, rows.shape[2]) @ query).reshape(len(rows), -1)
            clip, frame = products[:, : self._clips], products[:, self._clips :]
            parts.append(CLIP_WEIGHT * clip.max(axis=1) + FRAME_WEIGHT * frame.max(axis=1))
        scores = np.concatenate(parts)
        limit = min(limit, len(scores))
        best = np.argpartition(-scores, limit - 1)[:limit]
        return best[np.argsort(-scores[best])]

    def batch(self, queries: np.ndarray) -> np.ndarray:
        """Return scores (Q, V) of many queries at once, computed as in the evaluation."""
        clips, frames = self.tokens[:, : self._clips], self.tokens[:, self._clips :]
        clip, frame = (
            score_block(torch.from_numpy(queries), tokens, None, False, PRODUCTS).score
            for tokens in (clips, frames)
        )
        return (CLIP_WEIGHT * clip + FRAME_WEIGHT * frame).numpy()

    def by_words(self, queries: np.ndarray, words: Words) -> np.ndarray:
        """Return scores (Q, V) of queries with a row for each word, as in the evaluation.

        Args:
            queries: vectors (Q, D) that are compared with the clips.
            words: rows that are compared with the frames.
        """
        clips, frames = self.tokens[:, : self._clips], self.tokens[:, self._clips :]
        clip = score_block(torch.from_numpy(queries), clips, None, False, PRODUCTS).score
        rows = QueryRows(torch.from_numpy(words.vectors), torch.from_numpy(words.weights))
        frame = best_tokens(rows, Scale(frames), "zero", False, PRODUCTS).score
        return (CLIP_WEIGHT * clip + FRAME_WEIGHT * frame).numpy()

    def _weigh(self, products: Tensor) -> Tensor:
        clip, frame = products[:, : self._clips].amax(1), products[:, self._clips :].amax(1)
        return CLIP_WEIGHT * clip + FRAME_WEIGHT * frame

    def _tiles(self, allowed: np.ndarray | None) -> Iterator[Tensor]:
        rows = self.tokens if allowed is None else self.tokens[torch.from_numpy(allowed)]
        yield from rows.split(TILE) if rows.dtype == torch.float16 else [rows]


WRITTEN = 64  # number of videos that `lightning index` writes at once
EDGE, MEMORY = "edge", "memory"


def layout(dim: int) -> Layout:
    """Return the layout of a video's vectors, without registers."""
    return Layout(dim, ("clips", "frames"), {})


def create(name: str, folder: Path, dim: int) -> Engine:
    """Make an empty engine.

    Args:
        name: "edge", the address of a Qdrant server, or "memory" for the engine in Qdrant's Python
            client, which computes the same slowly.
        folder: folder of the embedded engine.
        dim: size of a vector.
    """
    if name == EDGE:
        return EdgeEngine.create(folder, layout(dim))
    from qdrant_client import QdrantClient

    from dreamprvr.search.engine.remote import RemoteEngine, connect

    client = QdrantClient(":memory:") if name == MEMORY else connect(name)
    return RemoteEngine.create(client, f"dreamprvr-benchmark-{uuid4().hex}", layout(dim))


def fill(engine: Engine, videos: Videos, scan: Scan) -> dict[str, float]:
    """Put all videos into an engine and a scan, and return the seconds that the engine took."""
    write = 0.0
    for part in videos.parts():
        scan.add(*part)
        of_part = records(part)
        for start in range(0, len(of_part), WRITTEN):
            write += seconds(partial(engine.upsert, of_part[start : start + WRITTEN]))
    return {"write s": write, "compact s": seconds(engine.compact)}


def engine_query(
    query: np.ndarray,
    limit: int,
    candidates: int | None,
    where: dict[str, str] | None = None,
    words: np.ndarray | None = None,
) -> EngineQuery:
    """Make the engine's query, with the weights of the configurations.

    Args:
        query: vector (D,) that is compared with the clips.
        limit: largest number of videos.
        candidates: number of videos to score exactly; None for all.
        where: allowed values by metadata column.
        words: rows (W, D), each times its weight, that are compared with the frames, as RAL's are;
            the vector by default.
    """
    words = query[None] if words is None else words
    rows = {"clips": CLIP_WEIGHT * query[None], "frames": FRAME_WEIGHT * words}
    return EngineQuery(rows, words, limit, Allowed(where or {}), candidates)


def open_and_search(
    folder: Path, queries: np.ndarray, limit: int, candidates: int
) -> dict[str, float]:
    """Open an engine, search by candidates, then exactly; call this in a fresh process.

    Returns:
        Seconds until the engine is open, milliseconds of the first query, and the growth of memory
        after both kinds of search, in MB: memory of the process, and pages of the engine's files,
        which the system may take back. It maps each file twice, and both count.
    """
    before = _resident()
    begin = time.perf_counter()
    engine = EdgeEngine(folder, lambda: layout(queries.shape[1]))
    ready = time.perf_counter()
    engine.search(engine_query(queries[0], limit, candidates))
    costs = {"open s": ready - begin, "first query ms": 1000 * (time.perf_counter() - ready)}
    for stage, some, count in (("candidates", queries, candidates), ("exact", queries[:2], None)):
        for query in some:
            engine.search(engine_query(query, limit, count))
        for kind, size in _resident().items():
            costs[f"{stage}: {kind} MB"] = (size - before[kind]) / 1e6
    engine.close()
    return costs


def _resident() -> dict[str, int]:
    """Return resident bytes by kind; nothing on systems that do not give them."""
    sizes = {"own": status_bytes("RssAnon"), "file pages": status_bytes("RssFile")}
    return {kind: size for kind, size in sizes.items() if size is not None}


SHOWN = 10  # number of videos with curve and moments


class GivenTokens(Untrained):
    """A model whose tokens are the clips and frames themselves."""

    scales = ("clips", "frames")

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.config = RowSettings(num_clips=32)

    @property
    def scale_weights(self) -> dict[str, float]:
        """Return the weights of the configurations."""
        return {"clips": CLIP_WEIGHT, "frames": FRAME_WEIGHT}

    def encode_videos(self, clips: Tensor, frames: Tensor, frame_mask: Tensor) -> EncodedVideos:
        """Return clips and frames as they are."""
        return EncodedVideos({"clips": Scale(clips), "frames": Scale(frames, frame_mask)}, {})


class NumberedQueries(SearchModel):
    """A model whose sentences are numbers of encoded queries: "3" is the fourth one.

    Args:
        vectors: vectors of the queries, (Q, D).
        network: the model; by default one that scores frames alone.
    """

    def __init__(self, vectors: np.ndarray, network: RetrievalModel | None = None) -> None:
        super().__init__(network or Untrained(vectors.shape[1]))
        self._vectors = torch.from_numpy(vectors)

    def encode_query(self, encoder: Any, text: str) -> EncodedQueries:
        """Return the vector of query number `text`."""
        vector = self._vectors[int(text)][None]
        rows = QueryRows(vector[None], torch.ones(1, 1))
        return EncodedQueries(vector, dict.fromkeys(self.network.scales, rows), {})


def searcher(engine: Engine, model: SearchModel, store: RowStore | None = None) -> Searcher:
    """Make the searcher of a library with one row a second and no text encoder."""
    settings = SimpleNamespace(stride=1.0, window=1.0)
    known = SimpleNamespace(model=model, settings=settings, encoder=lambda: None)
    return Searcher(engine, cast("LibraryModel", known), store=store)


def text_side(tokens: int = 12) -> Callable[[int], object]:
    """Return a function that encodes a sentence with a random model of CLIP ViT-B/32's sizes."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    model = CLIPTextModelWithProjection(CLIPTextConfig()).eval()
    ids = torch.arange(1, tokens + 1)[None]

    def encode(number: int) -> object:
        with torch.inference_mode():
            return model(input_ids=ids)

    return encode


def rescored_scores(videos: Videos, queries: Queries) -> tuple[np.ndarray, np.ndarray]:
    """Score queries by MS-SL: the sums of maxima that an engine has, and the model's own score.

    The means of consecutive clips are the proposals. The keys and values of the frames are made
    from the frames themselves, so that a key clip attends to frames like it.

    Args:
        videos: the collection.
        queries: Q queries.

    Returns:
        Both scores of each query and video, (Q, V) each.
    """
    model = MSSL(videos.dim, videos.dim, MSSLConfig(hidden_size=videos.dim, num_heads=2))
    query = torch.from_numpy(queries.vectors)
    rows = QueryRows(query[:, None], torch.ones(len(query), 1))
    encoded = EncodedQueries(query, {"clips": rows}, {})
    sums, exact = [], []
    for part in videos.parts():
        proposals = window_means(torch.from_numpy(part.clips))
        frames = torch.from_numpy(part.frames)
        extras = {
            "lengths": proposals.norm(dim=-1), "keys": SHARPNESS * frames, "values": frames,
            "frame_mask": torch.ones(frames.shape[:2]),
        }  # fmt: skip
        scale = Scale(unit(proposals))
        best = best_tokens(rows, scale, "zero", False, PRODUCTS).score
        sums.append(CLIP_WEIGHT * best)
        exact.append(model.rescore(encoded, EncodedVideos({"clips": scale}, extras), sums[-1]))
    return torch.cat(sums, dim=1).numpy(), torch.cat(exact, dim=1).numpy()


def library_search(
    engine: Engine, queries: Queries, candidates: Candidates
) -> Callable[[int], list[int]]:
    """Return a whole search: rank, fetch the best videos, find moments on their curves."""
    library = searcher(
        engine, NumberedQueries(queries.vectors, GivenTokens(queries.vectors.shape[1]))
    )

    def search(number: int) -> list[int]:
        result = library.search(Query(str(number), SHOWN, candidates=candidates))
        return [int(hit.video.video_id[1:]) for hit in result.hits]

    return search
