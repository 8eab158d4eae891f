"""Qdrant's engine inside this process, over a folder.

It runs without a write-ahead log: that log's lock would keep a second process from reading, and
every vector would be written twice. Instead `flush` ends each write, and the journal says until
then what it touches. A process that is killed may leave just those videos half written (vectors of
the new version, payload of the old), and the index of facets behind the payloads, so `repair` does
both again before anybody searches.
The caller locks the folder: many readers, or one writer.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from dreamprvr.core.errors import UserError
from dreamprvr.core.files import check_free_disk
from dreamprvr.search.edge_config import edge, edge_config
from dreamprvr.search.edge_errors import check_writable, plain_errors, reading
from dreamprvr.search.edge_points import (
    index_facets,
    named_payload,
    payload_of,
    point_ids,
    upsert_points,
    written_bytes,
)
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
    point_id,
    point_payload,
    query_rows,
    record_of,
)
from dreamprvr.search.room import check_holes, used

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
        with reading(folder):
            check_writable(folder)
            check_holes(folder)
            self._shard = edge.EdgeShard.load(str(folder))

    @classmethod
    def create(cls, folder: Path, dim: int) -> "EdgeEngine":
        """An empty collection of rows of `dim` numbers in a new folder."""
        with plain_errors(folder, "cannot be made", "mend that and index again"):
            folder.mkdir(parents=True, exist_ok=True)
            check_free_disk(folder, 0, "making a library")
            shard = edge.EdgeShard.create(str(folder), edge_config(dim))
            index_facets(shard)
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
        videos, records = self._journal.read(self.dim)
        check_free_disk(self.folder, written_bytes(records), "completing what was interrupted")
        with self._plain_errors():
            if videos:
                self._shard.update(edge.UpdateOperation.delete_points(point_ids(videos)))
            if records:
                self._shard.update(upsert_points(records))
            self._shard.update(edge.UpdateOperation.delete_field_index(FACETS))
            index_facets(self._shard)
            self._shard.flush()
        self._journal.close()

    def upsert(self, records: Sequence[Record]) -> None:
        """Add or replace videos."""
        check_free_disk(self.folder, written_bytes(records), f"writing {len(records)} videos")
        ids = [record.video_id for record in records]
        with reading(self.folder):
            held = self._shard.retrieve(point_ids(ids), with_payload=False, with_vector=False)
        replaced = {str(point.id) for point in held}
        old = [record for record in records if point_id(record.video_id) in replaced]
        with self._writing(ids, old):
            self._shard.update(upsert_points(records))

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
            self._shard.update(edge.UpdateOperation.delete_points(point_ids(video_ids)))

    @contextmanager
    def _writing(self, video_ids: Sequence[str], records: Sequence[Record] = ()) -> Iterator[None]:
        """Write down what a block does, and forget it once all is on the disk."""
        check_free_disk(self.folder, 0, "writing")
        self._journal.open(video_ids, records)
        with self._plain_errors():
            yield
            self._shard.flush()
        self._journal.close()

    def _plain_errors(self) -> AbstractContextManager[None]:
        remedy = "what was done before is kept; mend that and index again"
        return plain_errors(self.folder, "cannot be written", remedy)

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
        request = edge.QueryRequest(
            limit=query.limit, query=edge.Query.Nearest(rows.tolist(), using=TOKENS),
            prefetches=prefetch, filter=allowed, params=edge.SearchParams(exact=True),
            with_payload=[VIDEO_ID],
        )  # fmt: skip
        with reading(self.folder):
            found = self._shard.query(request)
            hits = [
                EngineHit(payload_of(point)[VIDEO_ID], point.score - constant) for point in found
            ]
        return sorted(hits, key=lambda hit: (-hit.score, hit.video_id))

    def fetch(self, video_ids: Sequence[str]) -> list[Record]:
        """Videos with their vectors."""
        with reading(self.folder):
            points = self._shard.retrieve(point_ids(video_ids), with_payload=True, with_vector=True)
            found: dict[str, Any] = {payload_of(point)[VIDEO_ID]: point for point in points}
            kept = [found[name] for name in video_ids if name in found]
            return [record_of(point.vector, payload_of(point)) for point in kept]

    def payloads(
        self, video_ids: Sequence[str] | None = None
    ) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Id and payload of every video, or of some."""
        if video_ids is not None:
            with reading(self.folder):
                points = self._shard.retrieve(point_ids(video_ids), True, False)
                yield from [named_payload(point) for point in points]
            return
        offset = None
        while True:
            request = edge.ScrollRequest(
                offset=offset, limit=PAGE, with_payload=True, with_vector=False
            )
            with reading(self.folder):
                points, offset = self._shard.scroll(request)
                found = [named_payload(point) for point in points]
            yield from found
            if offset is None:
                return

    def count(self, where: Mapping[str, Any] | None = None) -> int:
        """Videos that a filter leaves."""
        request = edge.CountRequest(exact=True, filter=where_filter(edge, where))
        with reading(self.folder):
            return int(self._shard.count(request))

    def compact(self) -> None:
        """Merge parts, drop what was deleted; of a large collection, build graphs of segments."""
        check_free_disk(
            self.folder, used(self.folder), "compacting"
        )  # at most all is written again
        with self._writing([]):
            if self.count() > SCANNED:
                self._shard.close()
                config = edge_config(self.dim, graph=True)
                self._shard = edge.EdgeShard.load(str(self.folder), config)
            self._shard.optimize()

    def close(self) -> None:
        """Let go of the files."""
        with suppress(UserError), reading(self.folder):  # what is damaged is let go of as well
            self._shard.close()
