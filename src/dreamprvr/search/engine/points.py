"""How videos lie in a collection of any engine; the one place that knows.

A point is a video. Its vectors, all multivectors of dot products in float16:

- `tokens`: the tokens of all scales, one after the other. The last numbers of a row, its *tag*,
  tell its scale: 1 in the column of the scale, 0 in the others. A query asks with its rows, each
  with a number B in the column of its scale. MaxSim adds the best token of each query row, and B
  makes a token of the right scale win, so the engine itself computes the sum over rows of the best
  product with a token of the row's scale, plus B for each row: exactly, in one pass, also across
  shards.
- `segments` (S, D), for candidates: all of them are scanned, or in a large collection searched
  under HNSW.
- the extras, only kept, each under its name; one without rows is left out.

The payload is the video's own, with `video_id`, and `facets`: every column and value of the
metadata as one string. A single keyword index serves all columns, whatever they are called.
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dreamprvr.search.engine.interface import (
    SEGMENTS,
    TOKENS,
    EngineQuery,
    Layout,
    Record,
)

FACETS, VIDEO_ID, METADATA = "facets", "video_id", "metadata"
SCANNED = 200_000  # videos whose segments are all scanned: faster than a graph, and exact
EFFORT = 2  # nodes that a graph keeps in sight, for each candidate wanted; docs/search.md
NAMESPACE = uuid.UUID("6e0f7ad5-3f0c-5b43-9a43-6f6b1e0e2c11")
FIRST = ("clips", "frames")  # these have the first columns of a tag in every library


class VectorLayout(NamedTuple):
    """A named multivector of the collection."""

    name: str
    size: int
    links: int  # of each node of the HNSW graph; 0 for none


def tag_columns(scales: Sequence[str]) -> tuple[str, ...]:
    """List the scales of the columns of a tag, in order."""
    return (*FIRST, *(scale for scale in scales if scale not in FIRST))


def vector_layouts(layout: Layout) -> tuple[VectorLayout, ...]:
    """List the multivectors of a collection."""
    return (
        VectorLayout(TOKENS, layout.dim + len(tag_columns(layout.scales)), 0),
        VectorLayout(SEGMENTS, layout.dim, 16),
        *(VectorLayout(name, size, 0) for name, size in layout.extras.items()),
    )


def point_id(video_id: str) -> str:
    """Give the engine's id of a video."""
    return str(uuid.uuid5(NAMESPACE, video_id))


def point_vectors(record: Record, layout: Layout) -> dict[str, Any]:
    """Give the vectors of a video's point, each a matrix."""
    columns = tag_columns(layout.scales)
    tagged = [
        np.hstack([rows, np.tile(np.equal(columns, scale), (len(rows), 1))])
        for scale, rows in record.tokens.items()
    ]
    extras = {name: rows for name, rows in record.extras.items() if len(rows)}
    tokens = np.concatenate(tagged).astype(np.float32)
    return {TOKENS: tokens, SEGMENTS: record.segments, **extras}


def point_payload(video_id: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    """Give the payload of a video's point."""
    metadata = payload.get(METADATA, {})
    facets = [facet(column, value) for column, held in metadata.items() for value in values(held)]
    return {**payload, VIDEO_ID: video_id, FACETS: facets}


def own_payload(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Give the video's own payload of a point's."""
    return {key: value for key, value in payload.items() if key not in (VIDEO_ID, FACETS)}


def record_of(vectors: Mapping[str, Any], payload: Mapping[str, Any], layout: Layout) -> Record:
    """Give the video of a point."""
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
    """Join a column and one of its values in one string; no two pairs give the same."""
    return json.dumps([column, str(value)], ensure_ascii=False)


def values(held: object) -> Sequence[object]:
    """List the values of a metadata entry, or those that a filter allows."""
    return held if isinstance(held, (list, tuple)) else [held]


def query_rows(query: EngineQuery, layout: Layout) -> tuple[np.ndarray, float]:
    """Give the rows that `tokens` is asked with, and what to subtract from the engine's score."""
    columns = tag_columns(layout.scales)
    weights = [np.linalg.norm(rows, axis=1).max(initial=0) for rows in query.rows.values()]
    largest = max(weights) or 1.0  # a sentence may give a row of zeros
    # A token of the wrong scale must lose by more than any two products differ, twice the weight.
    # A power of 2 is exact in half precision; .001 keeps rounding from giving the next one.
    bonus = 2.0 ** np.ceil(np.log2(4 * largest) - 0.001)
    tagged = [
        np.hstack([rows, np.tile(bonus * np.equal(columns, scale), (len(rows), 1))])
        for scale, rows in query.rows.items()
    ]
    asked = np.concatenate(tagged).astype(np.float32)
    return asked, float(bonus * len(asked))
