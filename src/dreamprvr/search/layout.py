"""How videos lie in a collection of any engine; the one place that knows.

A point is a video. Its vectors, all multivectors of dot products on unit rows in float16:

- `tokens` (C + M, D + 2): clips, then frames. The last two numbers of a row tell its scale, (1, 0)
  or (0, 1), and a query asks with one row a scale, (w_c q, B, 0) and (w_f q, 0, B). MaxSim adds the
  best token of each query row, B makes a token of the right scale win, so the engine itself
  computes w_c max(clips) + w_f max(frames) + 2 B: exactly, in one pass, also across shards.
- `segments` (S, D), for candidates: all of them are scanned, or in a large collection searched
  under HNSW.
- `registers` (R, D), only kept; a video without registers lacks it.

The payload is the video's own, with `video_id`, and `facets`: every column and value of the
metadata as one string. A single keyword index serves all columns, whatever they are called.
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dreamprvr.search.engine import EngineQuery, Record

TOKENS, SEGMENTS, REGISTERS = "tokens", "segments", "registers"
FACETS, VIDEO_ID, METADATA = "facets", "video_id", "metadata"
SCANNED = 200_000  # videos whose segments are all scanned: faster than a graph, and exact
EFFORT = 2  # nodes that a graph keeps in sight, for each candidate wanted; docs/search.md
TAGS = 2  # numbers of a token that tell its scale
NAMESPACE = uuid.UUID("6e0f7ad5-3f0c-5b43-9a43-6f6b1e0e2c11")


class VectorLayout(NamedTuple):
    """A named multivector of the collection."""

    name: str
    size: int
    links: int  # of each node of the HNSW graph; 0 for none


def vector_layouts(dim: int) -> tuple[VectorLayout, ...]:
    """The multivectors of a collection of rows of `dim` numbers."""
    return (
        VectorLayout(TOKENS, dim + TAGS, 0),
        VectorLayout(SEGMENTS, dim, 16),
        VectorLayout(REGISTERS, dim, 0),
    )


def point_id(video_id: str) -> str:
    """The engine's id of a video."""
    return str(uuid.uuid5(NAMESPACE, video_id))


def point_vectors(record: Record) -> dict[str, Any]:
    """The vectors of a video's point, each a matrix."""
    vectors = {TOKENS: _tagged(record.clips, record.frames), SEGMENTS: record.segments}
    if len(record.registers):
        vectors[REGISTERS] = record.registers
    return vectors


def point_payload(video_id: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    """The payload of a video's point."""
    metadata = payload.get(METADATA, {})
    facets = [facet(column, value) for column, held in metadata.items() for value in values(held)]
    return {**payload, VIDEO_ID: video_id, FACETS: facets}


def own_payload(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The video's own payload again."""
    return {key: value for key, value in payload.items() if key not in (VIDEO_ID, FACETS)}


def record_of(vectors: Mapping[str, Any], payload: Mapping[str, Any]) -> Record:
    """The video of a point."""
    tokens = np.asarray(vectors[TOKENS], dtype=np.float32)
    segments = np.asarray(vectors[SEGMENTS], dtype=np.float32)
    registers = vectors.get(REGISTERS, np.empty((0, segments.shape[1])))
    is_clip = tokens[:, -TAGS] > 0.5
    return Record(
        str(payload[VIDEO_ID]), tokens[is_clip, :-TAGS], tokens[~is_clip, :-TAGS], segments,
        np.asarray(registers, dtype=np.float32), own_payload(payload),
    )  # fmt: skip


def facet(column: str, value: object) -> str:
    """A column and one of its values as one string; no two pairs give the same."""
    return json.dumps([column, str(value)], ensure_ascii=False)


def values(held: object) -> Sequence[object]:
    """The values of a metadata entry, or those a filter allows: a list's items, or the one."""
    return held if isinstance(held, (list, tuple)) else [held]


def query_rows(query: EngineQuery) -> tuple[np.ndarray, float]:
    """What `tokens` is asked with, and what to subtract from the engine's score."""
    # a token of the wrong scale must lose by more than any two cosines differ; a power of 2 is
    # exact in half precision
    bonus = 2.0 ** np.ceil(np.log2(4 * max(query.clip_weight, query.frame_weight)))
    rows = []
    for weight, tag in ((query.clip_weight, (bonus, 0.0)), (query.frame_weight, (0.0, bonus))):
        if weight:
            rows.append(np.append(weight * query.vector, tag))
    return np.asarray(rows, dtype=np.float32), float(bonus * len(rows))


def _tagged(clips: np.ndarray, frames: np.ndarray) -> np.ndarray:
    tokens = np.zeros((len(clips) + len(frames), frames.shape[1] + TAGS), dtype=np.float32)
    tokens[: len(clips), :-TAGS] = clips
    tokens[len(clips) :, :-TAGS] = frames
    tokens[: len(clips), -2] = 1
    tokens[len(clips) :, -1] = 1
    return tokens
