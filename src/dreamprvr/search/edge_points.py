"""Videos as the embedded engine's points, and what is asked of them."""

from collections.abc import Sequence
from typing import Any

from dreamprvr.search.edge_config import edge
from dreamprvr.search.engine import Record
from dreamprvr.search.layout import (
    FACETS,
    VIDEO_ID,
    own_payload,
    point_id,
    point_payload,
    point_vectors,
)


def upsert_points(records: Sequence[Record]) -> edge.UpdateOperation:
    """Add or replace videos."""
    points = [
        edge.Point(
            point_id(record.video_id), point_vectors(record),
            point_payload(record.video_id, record.payload),
        )
        for record in records
    ]  # fmt: skip
    return edge.UpdateOperation.upsert_points(points)


def point_ids(video_ids: Sequence[str]) -> list[Any]:
    """The engine's ids of videos."""
    return [point_id(video_id) for video_id in video_ids]


def payload_of(point: Any) -> dict[str, Any]:
    """The payload of a point that was found."""
    return point.payload or {}


def named_payload(point: Any) -> tuple[str, dict[str, Any]]:
    """Id of the video of a point, and its own payload."""
    payload = payload_of(point)
    return payload[VIDEO_ID], own_payload(payload)


def index_facets(shard: edge.EdgeShard) -> None:
    """Build the index that filters use."""
    shard.update(edge.UpdateOperation.create_field_index(FACETS, edge.PayloadSchemaType.Keyword))


def written_bytes(records: Sequence[Record]) -> int:
    """What writing videos may take, with the journal and the rounding up of files."""
    return 2 * sum(
        rows.nbytes
        for record in records
        for rows in (record.clips, record.frames, record.segments, record.registers)
    )
