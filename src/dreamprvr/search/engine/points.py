"""Layout of videos in a collection; it is the same for every engine.

A point is a video. Its vectors, all multivectors of dot products in float16:

- `tokens`: the tokens of all scales, one after the other. The last numbers of a row, its *tag*,
  name its scale: 1 in the column of the scale, 0 in the others. A query row has a number B in the
  column of its scale. MaxSim adds the best product of each query row, and B is so large that the
  best token is one of the row's scale. So the engine computes the exact score plus B for each row,
  in one pass, also across shards.
- `segments` (S, D), for finding candidates: they are all scanned, or, in a large collection,
  searched by an HNSW graph.
- the extras, each under its name; they are kept, not searched. An extra without rows is left out.

The payload is the video's own, with `video_id` and `facets` added. A facet is a column and a value
of the metadata in one string, so that one keyword index serves all columns.
"""

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from dreamprvr.search.engine.interface import (
    SEGMENTS,
    TOKENS,
    EngineHit,
    EngineQuery,
    Layout,
    Record,
)

FACETS, VIDEO_ID, METADATA = "facets", "video_id", "metadata"
SCANNED = 200_000  # videos whose segments are all scanned: faster than a graph, and exact
EFFORT = 2  # Qdrant's hnsw_ef for each candidate wanted; docs/search.md has measurements
NAMESPACE = uuid.UUID("6e0f7ad5-3f0c-5b43-9a43-6f6b1e0e2c11")
FIRST = ("clips", "frames")  # scales of the first columns of a tag, in every library


class VectorLayout(NamedTuple):
    """A named multivector of the collection.

    Args:
        name: name of the multivector.
        size: numbers of a row.
        links: links of each node of the HNSW graph; 0 for no graph.
    """

    name: str
    size: int
    links: int


def tag_columns(scales: Sequence[str]) -> tuple[str, ...]:
    """List the scales that the columns of a tag stand for, in order."""
    return (*FIRST, *(scale for scale in scales if scale not in FIRST))


def vector_layouts(layout: Layout) -> tuple[VectorLayout, ...]:
    """List the multivectors of a collection."""
    return (
        VectorLayout(TOKENS, layout.dim + len(tag_columns(layout.scales)), 0),
        VectorLayout(SEGMENTS, layout.dim, 16),
        *(VectorLayout(name, size, 0) for name, size in layout.extras.items()),
    )


@lru_cache(maxsize=2**16)  # a filter may name thousands of videos, for several requests
def point_id(video_id: str) -> str:
    """Return the engine's id of a video."""
    return str(uuid.uuid5(NAMESPACE, video_id))


def point_vectors(record: Record, layout: Layout) -> dict[str, Any]:
    """Return the vectors of a video's point, by name, each a matrix."""
    columns = tag_columns(layout.scales)
    tagged = [
        np.hstack([rows, np.tile(np.equal(columns, scale), (len(rows), 1))])
        for scale, rows in record.tokens.items()
    ]
    extras = {name: rows for name, rows in record.extras.items() if len(rows)}
    tokens = np.concatenate(tagged).astype(np.float32)
    return {TOKENS: tokens, SEGMENTS: record.segments, **extras}


def point_payload(video_id: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return the payload of a video's point: the video's own, its id and its facets."""
    metadata = payload.get(METADATA, {})
    facets = [facet(column, value) for column, held in metadata.items() for value in values(held)]
    return {**payload, VIDEO_ID: video_id, FACETS: facets}


def own_payload(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return the video's own part of a point's payload."""
    return {key: value for key, value in payload.items() if key not in (VIDEO_ID, FACETS)}


def named_payload(point: Any) -> tuple[str, dict[str, Any]]:
    """Return the id of a point's video, and the video's own payload."""
    payload = point.payload or {}
    return payload[VIDEO_ID], own_payload(payload)


def ranked_hits(points: Iterable[Any], constant: float) -> list[EngineHit]:
    """Return the hits of points, best first; `query_rows` gives the number to subtract."""
    hits = [EngineHit(point.payload[VIDEO_ID], point.score - constant) for point in points]
    return sorted(hits, key=lambda hit: (-hit.score, hit.video_id))


def records_of(points: Iterable[Any], video_ids: Sequence[str], layout: Layout) -> list[Record]:
    """Return the videos of points in the order of `video_ids`; ids without a point are skipped."""
    by_id = {named_payload(point)[0]: point for point in points}
    kept = [by_id[name] for name in video_ids if name in by_id]
    return [record_of(point.vector, point.payload, layout) for point in kept]


def record_of(vectors: Mapping[str, Any], payload: Mapping[str, Any], layout: Layout) -> Record:
    """Make the video of a point.

    Args:
        vectors: vectors of the point, by name.
        payload: payload of the point.
        layout: vectors of the library's videos.
    """
    tokens = np.asarray(vectors[TOKENS], dtype=np.float32)
    tags = tokens[:, layout.dim :]
    columns = tag_columns(layout.scales)
    scales = {
        scale: tokens[tags[:, columns.index(scale)] > 0.5, : layout.dim] for scale in layout.scales
    }
    extras = {
        name: np.asarray(vectors.get(name, np.empty((0, size))), dtype=np.float32)
        for name, size in layout.extras.items()
    }
    segments = np.asarray(vectors[SEGMENTS], dtype=np.float32)
    return Record(str(payload[VIDEO_ID]), scales, segments, extras, own_payload(payload))


def facet(column: str, value: object) -> str:
    """Write a column and one of its values as one string, which no other pair has."""
    return json.dumps([column, str(value)], ensure_ascii=False)


def values(held: object) -> Sequence[object]:
    """List the values of a metadata entry or of a filter, which may be one value or several."""
    return held if isinstance(held, (list, tuple)) else [held]


def query_rows(query: EngineQuery, layout: Layout) -> tuple[np.ndarray, float]:
    """Return the rows to compare with `tokens`, and the number to subtract from the score.

    Args:
        query: the query.
        layout: vectors of the library's videos.
    """
    columns = tag_columns(layout.scales)
    weights = [np.linalg.norm(rows, axis=1).max(initial=0) for rows in query.rows.values()]
    largest = max(weights) or 1.0  # a sentence may give a row of zeros
    # The bonus must be larger than any difference of two products, which is twice the weight.
    # A power of 2 is exact in half precision; without .001, rounding could give the next power.
    bonus = 2.0 ** np.ceil(np.log2(4 * largest) - 0.001)
    tagged = [
        np.hstack([rows, np.tile(bonus * np.equal(columns, scale), (len(rows), 1))])
        for scale, rows in query.rows.items()
    ]
    rows_of_all_scales = np.concatenate(tagged).astype(np.float32)
    return rows_of_all_scales, float(bonus * len(rows_of_all_scales))
