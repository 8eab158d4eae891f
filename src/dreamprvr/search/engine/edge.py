"""The embedded engine: Qdrant inside this process, with its files in a folder.

It runs without a write-ahead log: the log's lock would keep a second process from reading, and
every vector would be written twice. Instead each write ends with `flush`, and until then the
journal names the videos that it touches. A killed process may leave these videos half written
(vectors of the new version, payload of the old one), and the index of facets out of date. `repair`
corrects both before the next search.

The caller locks the folder for many readers or for one writer.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from dreamprvr.core.errors import UserError
from dreamprvr.core.files import check_free_disk
from dreamprvr.core.text import load_json
from dreamprvr.search.engine.disk import check_holes, check_writable, plain_errors, reading, used
from dreamprvr.search.engine.filters import where_filter
from dreamprvr.search.engine.interface import (
    EVERY,
    SEGMENTS,
    TOKENS,
    Allowed,
    EngineHit,
    EngineQuery,
    Layout,
    Record,
)
from dreamprvr.search.engine.journal import Journal
from dreamprvr.search.engine.points import (
    EFFORT,
    FACETS,
    SCANNED,
    VIDEO_ID,
    named_payload,
    point_id,
    point_payload,
    point_vectors,
    query_rows,
    ranked_hits,
    records_of,
    vector_layouts,
)

os.environ["RUST_BACKTRACE"] = "0"  # damaged files would print 60 lines that help no user

try:
    import qdrant_edge as edge
except ImportError:
    raise UserError(
        "the embedded search engine is not installed: pip install 'dreamprvr[search]'"
    ) from None

BUILD_EFFORT = 100  # Qdrant's ef_construct
GRAPH_FROM = 10_000  # KB from which a part of a large collection gets a graph
NEVER = 2**40  # KB that no part reaches, so that no graph is built
FULL_SCAN = 10_000  # KB of segment vectors below which scanning is as fast as a graph
DELETED = 0.1  # share of deleted videos from which a part of the collection is written again
LEAST = 100  # smallest number of videos of a part that is written again
PAGE = 1000  # payloads read at once


class EdgeEngine:
    """The embedded engine; the methods are those of `dreamprvr.search.engine.interface.Engine`.

    Args:
        folder: folder that `create` made.
        find_layout: returns the vectors of a video, the same as for `create`; called when vectors
            are read or written.

    Raises:
        UserError: the folder is damaged or may not be read.
    """

    def __init__(self, folder: Path, find_layout: Callable[[], Layout]) -> None:
        self.folder, self.find_layout = folder, find_layout
        self._journal = Journal(folder)
        with reading(folder):
            check_writable(folder)
            check_holes(folder)
            self._shard = edge.EdgeShard.load(str(folder))

    @classmethod
    def create(cls, folder: Path, layout: Layout) -> "EdgeEngine":
        """Make an empty collection.

        Args:
            folder: path of a new folder.
            layout: vectors of a video.
        """
        with plain_errors(folder, "cannot be made", "solve that and index again"):
            folder.mkdir(parents=True, exist_ok=True)
            check_free_disk(folder, 0, "making a library")
            shard = edge.EdgeShard.create(str(folder), edge_config(layout))
            index_facets(shard)
            shard.flush()
            shard.close()
        return cls(folder, lambda: layout)

    @staticmethod
    def is_interrupted(folder: Path) -> bool:
        """Return whether a writer of a folder was killed, so that `repair` is needed."""
        return Journal(folder).is_open()

    def repair(self) -> None:
        """Repair half written videos and the index of facets after a writer was killed.

        The journal must be open, as `is_interrupted` says.
        """
        videos, records = self._journal.read(self.find_layout())
        check_free_disk(self.folder, written_bytes(records), "completing an interrupted write")
        with self._plain_errors():
            if videos:
                self._shard.update(edge.UpdateOperation.delete_points(point_ids(videos)))
            if records:
                self._shard.update(upsert_points(records, self.find_layout()))
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
            self._shard.update(upsert_points(records, self.find_layout()))

    def set_payloads(self, payloads: Mapping[str, Mapping[str, Any]]) -> None:
        """Replace payloads; a reader sees the old payload or the new one, never a mixture."""
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
        """Keep a journal of the block's changes until they are on the disk.

        Args:
            video_ids: ids of the videos that the block writes or removes.
            records: videos of the block that replace older versions.
        """
        check_free_disk(self.folder, 0, "writing")
        self._journal.open(video_ids, records)
        with self._plain_errors():
            yield
            self._shard.flush()
        self._journal.close()

    def _plain_errors(self) -> AbstractContextManager[None]:
        remedy = "earlier changes are kept; solve that and index again"
        return plain_errors(self.folder, "cannot be written", remedy)

    def search(self, query: EngineQuery) -> list[EngineHit]:
        """Find the best videos by exact score, among all videos or among candidates."""
        rows, constant = query_rows(query, self.find_layout())
        allowed = where_filter(edge, query.allowed)
        prefetch = None
        if query.candidates is not None:
            nearest = edge.Query.Nearest(query.segments.tolist(), using=SEGMENTS)
            count = max(query.candidates, query.limit)
            effort = edge.SearchParams(hnsw_ef=EFFORT * count, exact=not query.graph)
            prefetch = [edge.Prefetch(limit=count, query=nearest, filter=allowed, params=effort)]
        request = edge.QueryRequest(
            limit=query.limit, query=edge.Query.Nearest(rows.tolist(), using=TOKENS),
            prefetches=prefetch, filter=allowed, params=edge.SearchParams(exact=True),
            with_payload=[VIDEO_ID],
        )  # fmt: skip
        with reading(self.folder):
            return ranked_hits(self._shard.query(request), constant)

    def fetch(self, video_ids: Sequence[str]) -> list[Record]:
        """Return videos with their vectors."""
        with reading(self.folder):
            points = self._shard.retrieve(point_ids(video_ids), with_payload=True, with_vector=True)
            return records_of(points, video_ids, self.find_layout())

    def payloads(
        self, video_ids: Sequence[str] | None = None
    ) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield id and payload of every video, or of some."""
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
                named_payloads = [named_payload(point) for point in points]
            yield from named_payloads
            if offset is None:
                return

    def count(self, allowed: Allowed = EVERY) -> int:
        """Count the videos that a query of these conditions may find."""
        request = edge.CountRequest(exact=True, filter=where_filter(edge, allowed))
        with reading(self.folder):
            return int(self._shard.count(request))

    def compact(self) -> None:
        """Merge parts and drop deleted videos; in a large collection, build graphs of segments."""
        # at most, every file is written again
        check_free_disk(self.folder, used(self.folder), "compacting")
        with self._writing([]):
            if self.count() > SCANNED:
                self._shard.close()
                # a library of an earlier version may name a vector that no video has
                kept = load_json(self.folder / "edge_config.json")["vectors"]
                own = (TOKENS, SEGMENTS)
                extras = {name: kept[name]["size"] for name in kept if name not in own}
                config = edge_config(replace(self.find_layout(), extras=extras), graph=True)
                self._shard = edge.EdgeShard.load(str(self.folder), config)
            self._shard.optimize()

    def close(self) -> None:
        """Close the files."""
        with suppress(UserError), reading(self.folder):  # damaged files are closed too
            self._shard.close()


def edge_config(layout: Layout, graph: bool = False) -> edge.EdgeConfig:
    """Describe a collection.

    Args:
        layout: vectors of a video.
        graph: whether compacting builds a graph of segments.
    """
    multivector = edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim)
    return edge.EdgeConfig(
        vectors={
            name: edge.EdgeVectorParams(
                size, edge.Distance.Dot, multivector_config=multivector,
                datatype=edge.VectorStorageDatatype.Float16,
                hnsw_config=edge.HnswIndexConfig(links, BUILD_EFFORT, FULL_SCAN),
            )
            for name, size, links in vector_layouts(layout)
        },
        optimizers=edge.EdgeOptimizersConfig(
            deleted_threshold=DELETED, vacuum_min_vector_number=LEAST,
            indexing_threshold=GRAPH_FROM if graph else NEVER,
        ),
        wal_enabled=False,
    )  # fmt: skip


def upsert_points(records: Sequence[Record], layout: Layout) -> edge.UpdateOperation:
    """Return the operation that adds or replaces videos."""
    points = [
        edge.Point(
            point_id(record.video_id), point_vectors(record, layout),
            point_payload(record.video_id, record.payload),
        )
        for record in records
    ]  # fmt: skip
    return edge.UpdateOperation.upsert_points(points)


def point_ids(video_ids: Sequence[str]) -> list[Any]:
    """Return the engine's ids of videos."""
    return [point_id(video_id) for video_id in video_ids]


def index_facets(shard: edge.EdgeShard) -> None:
    """Build the index that filters use."""
    shard.update(edge.UpdateOperation.create_field_index(FACETS, edge.PayloadSchemaType.Keyword))


def written_bytes(records: Sequence[Record]) -> int:
    """Estimate the bytes that writing videos takes, with the journal and the rounding of files."""
    return 2 * sum(
        rows.nbytes
        for record in records
        for rows in (*record.tokens.values(), record.segments, *record.extras.values())
    )
