"""Qdrant's engine inside this process, over a folder.

It runs without a write-ahead log: that log's lock would keep a second process from reading, and
every vector would be written twice. Instead `flush` ends each write, and the journal says until
then what it touches. A process that is killed may leave just those videos half written (vectors of
the new version, payload of the old), and the index of facets behind the payloads, so `repair` does
both again before anybody searches.
The caller locks the folder: many readers, or one writer.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dreamprvr.errors import UserError
from dreamprvr.search.edge_config import edge, edge_config
from dreamprvr.search.engine import EngineHit, EngineQuery, Record
from dreamprvr.search.filters import where_filter
from dreamprvr.search.journal import Journal
from dreamprvr.search.layout import (
    EFFORT,
    FACETS,
    SCANNED,
    SEGMENTS,
    TOKENS,
    VIDEO_ID,
    own_payload,
    point_id,
    point_payload,
    point_vectors,
    query_rows,
    record_of,
)

PAGE = 1000  # payloads read at once


class EdgeEngine:
    """The embedded engine; see `dreamprvr.search.engine.Engine`.

    Args:
        folder: made by `create`.
        dim: as it was made with.

    Raises:
        UserError: the folder is damaged or may not be read.
    """

    def __init__(self, folder: Path, dim: int) -> None:
        self.folder, self.dim = folder, dim
        self._journal = Journal(folder)
        try:
            self._shard = edge.EdgeShard.load(str(folder))
        except Exception as error:  # the package raises this class alone
            raise UserError(
                f"{folder} cannot be read ({_reason(error)}): move it away and index again"
            ) from None

    @classmethod
    def create(cls, folder: Path, dim: int) -> "EdgeEngine":
        """An empty collection of rows of `dim` numbers in a new folder."""
        folder.mkdir(parents=True, exist_ok=True)
        shard = edge.EdgeShard.create(str(folder), edge_config(dim))
        _index_facets(shard)
        shard.flush()
        shard.close()
        return cls(folder, dim)

    @staticmethod
    def is_interrupted(folder: Path) -> bool:
        """Whether a writer was killed; `repair` comes before searching."""
        return Journal(folder).is_open()

    def repair(self) -> None:
        """Mend what a killed writer may have left: half written videos, a stale index of facets."""
        if not self._journal.is_open():
            return
        videos, records = self._journal.read()
        if videos:
            self._shard.update(edge.UpdateOperation.delete_points(_points(videos)))
        if records:
            self._shard.update(_upsert(records))
        self._shard.update(edge.UpdateOperation.delete_field_index(FACETS))
        _index_facets(self._shard)
        self._shard.flush()
        self._journal.close()

    def upsert(self, records: Sequence[Record]) -> None:
        """Add or replace videos."""
        ids = [record.video_id for record in records]
        held = self._shard.retrieve(_points(ids), with_payload=False, with_vector=False)
        replaced = {str(point.id) for point in held}
        old = [record for record in records if point_id(record.video_id) in replaced]
        with self._writing(ids, old):
            self._shard.update(_upsert(records))

    def set_payloads(self, payloads: Mapping[str, Mapping[str, Any]]) -> None:
        """Replace payloads; a reader sees the old one or the new one, never a mixture."""
        with self._writing([]):
            for video_id, payload in payloads.items():
                self._shard.update(
                    edge.UpdateOperation.overwrite_payload(
                        [point_id(video_id)], point_payload(video_id, payload)
                    )
                )

    def delete(self, video_ids: Sequence[str]) -> None:
        """Remove videos."""
        with self._writing(video_ids):
            self._shard.update(edge.UpdateOperation.delete_points(_points(video_ids)))

    @contextmanager
    def _writing(self, video_ids: Sequence[str], records: Sequence[Record] = ()) -> Iterator[None]:
        """Write down what a block does, and forget it once all is on the disk."""
        self._journal.open(video_ids, records)
        try:
            yield
            self._shard.flush()
        except Exception as error:
            raise UserError(
                f"{self.folder} cannot be written ({_reason(error)}); what was done before is "
                "kept: mend that and index again"
            ) from None
        self._journal.close()

    def search(self, query: EngineQuery) -> list[EngineHit]:
        """The best videos by exact score, among all or among candidates."""
        rows, constant = query_rows(query)
        allowed = where_filter(edge, query.where)
        prefetch = None
        if query.candidates is not None:
            nearest = edge.Query.Nearest([query.vector.tolist()], using=SEGMENTS)
            count = max(query.candidates, query.limit)
            effort = edge.SearchParams(hnsw_ef=EFFORT * count, exact=not query.graph)
            prefetch = [edge.Prefetch(limit=count, query=nearest, filter=allowed, params=effort)]
        found = self._shard.query(
            edge.QueryRequest(
                limit=query.limit, query=edge.Query.Nearest(rows.tolist(), using=TOKENS),
                prefetches=prefetch, filter=allowed, params=edge.SearchParams(exact=True),
                with_payload=[VIDEO_ID],
            )
        )  # fmt: skip
        hits = [EngineHit(_payload(point)[VIDEO_ID], point.score - constant) for point in found]
        return sorted(hits, key=lambda hit: (-hit.score, hit.video_id))

    def fetch(self, video_ids: Sequence[str]) -> list[Record]:
        """Videos with their vectors."""
        points = self._shard.retrieve(
            [point_id(video_id) for video_id in video_ids], with_payload=True, with_vector=True
        )
        found: dict[str, Any] = {_payload(point)[VIDEO_ID]: point for point in points}
        kept = [found[video_id] for video_id in video_ids if video_id in found]
        return [record_of(point.vector, _payload(point)) for point in kept]

    def payloads(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Id and payload of every video."""
        offset = None
        while True:
            points, offset = self._shard.scroll(
                edge.ScrollRequest(offset=offset, limit=PAGE, with_payload=True, with_vector=False)
            )
            for point in points:
                yield _payload(point)[VIDEO_ID], own_payload(_payload(point))
            if offset is None:
                return

    def count(self, where: Mapping[str, Any] | None = None) -> int:
        """Videos that a filter leaves."""
        request = edge.CountRequest(exact=True, filter=where_filter(edge, where))
        return int(self._shard.count(request))

    def compact(self) -> None:
        """Merge parts, drop what was deleted; of a large collection, build graphs of segments."""
        with self._writing([]):
            if self.count() > SCANNED:
                self._shard.close()
                config = edge_config(self.dim, graph=True)
                self._shard = edge.EdgeShard.load(str(self.folder), config)
            self._shard.optimize()

    def close(self) -> None:
        """Let go of the files."""
        self._shard.close()


def _index_facets(shard: edge.EdgeShard) -> None:
    shard.update(edge.UpdateOperation.create_field_index(FACETS, edge.PayloadSchemaType.Keyword))


def _upsert(records: Sequence[Record]) -> Any:
    points = [
        edge.Point(
            point_id(record.video_id), point_vectors(record),
            point_payload(record.video_id, record.payload),
        )
        for record in records
    ]  # fmt: skip
    return edge.UpdateOperation.upsert_points(points)


def _points(video_ids: Sequence[str]) -> list[Any]:
    return [point_id(video_id) for video_id in video_ids]


def _payload(point: Any) -> dict[str, Any]:
    return point.payload or {}


def _reason(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
