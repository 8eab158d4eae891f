"""A client of a Qdrant server or cluster; points have the same layout as in the embedded engine."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from dreamprvr.core.errors import UserError
from dreamprvr.core.text import quote
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
from dreamprvr.search.engine.points import (
    EFFORT,
    FACETS,
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

try:
    from qdrant_client import QdrantClient, models
    from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse
except ImportError:
    raise UserError(
        "the client of Qdrant servers is not installed: pip install 'dreamprvr[search]'"
    ) from None

KEY = "QDRANT_API_KEY"
PAGE = 1000  # payloads read at once
BATCH = 32  # videos in a request; servers refuse requests above 32 MB
TIMEOUT = 60  # seconds
LARGEST = 2**20  # numbers of a multivector; servers refuse more, and no setting changes that


class RemoteEngine:
    """A collection on a server, with the methods of `dreamprvr.search.engine.interface.Engine`.

    Args:
        client: client that is connected to the server, or Qdrant's own in memory
            (`QdrantClient(":memory:")`).
        collection: name of the collection that `create` made.
        find_layout: returns the vectors of a video, the same as for `create`; called when vectors
            are read or written.
    """

    def __init__(
        self, client: QdrantClient, collection: str, find_layout: Callable[[], Layout]
    ) -> None:
        self.client, self.collection, self.find_layout = client, collection, find_layout
        with _plain_errors():
            if not client.collection_exists(collection):
                raise UserError(
                    f"the Qdrant server has no collection {collection}: it was deleted, or this is "
                    "another server; index into a new folder"
                )

    @classmethod
    def create(cls, client: QdrantClient, collection: str, layout: Layout) -> "RemoteEngine":
        """Make an empty collection.

        Args:
            client: client that is connected to the server.
            collection: name of the new collection.
            layout: vectors of a video.
        """
        with _plain_errors():
            client.create_collection(collection, vectors_config=_vectors_config(layout))
            client.create_payload_index(
                collection, FACETS, field_schema=models.PayloadSchemaType.KEYWORD
            )
        return cls(client, collection, lambda: layout)

    def upsert(self, records: Sequence[Record]) -> None:
        """Add or replace videos.

        Raises:
            UserError: a video is too long for a server, or the server does not answer.
        """
        for record in records:
            _refuse_too_long(record, self.find_layout())
        for start in range(0, len(records), BATCH):
            points = [
                models.PointStruct(
                    id=point_id(record.video_id),
                    vector={
                        name: rows.tolist()
                        for name, rows in point_vectors(record, self.find_layout()).items()
                    },
                    payload=point_payload(record.video_id, record.payload),
                )
                for record in records[start : start + BATCH]
            ]
            with _plain_errors():
                self.client.upsert(self.collection, points, wait=True)

    def set_payloads(self, payloads: Mapping[str, Mapping[str, Any]]) -> None:
        """Replace payloads."""
        with _plain_errors():
            for video_id, payload in payloads.items():
                self.client.overwrite_payload(
                    self.collection, point_payload(video_id, payload), [point_id(video_id)],
                    wait=True,
                )  # fmt: skip

    def delete(self, video_ids: Sequence[str]) -> None:
        """Remove videos."""
        points = models.PointIdsList(points=[point_id(video_id) for video_id in video_ids])
        with _plain_errors():
            self.client.delete(self.collection, points, wait=True)

    def search(self, query: EngineQuery) -> list[EngineHit]:
        """Find the best videos by exact score, among all videos or among candidates."""
        rows, constant = query_rows(query, self.find_layout())
        allowed = where_filter(models, query.allowed)
        prefetch = None
        if query.candidates is not None:
            count = max(query.candidates, query.limit)
            prefetch = models.Prefetch(
                query=query.segments.tolist(), using=SEGMENTS, filter=allowed, limit=count,
                params=models.SearchParams(hnsw_ef=EFFORT * count, exact=not query.graph),
            )  # fmt: skip
        with _plain_errors():
            points = self.client.query_points(
                self.collection, query=rows.tolist(), using=TOKENS, prefetch=prefetch,
                query_filter=allowed, limit=query.limit, with_payload=[VIDEO_ID],
                search_params=models.SearchParams(exact=True),
            ).points  # fmt: skip
            return ranked_hits(points, constant)

    def fetch(self, video_ids: Sequence[str]) -> list[Record]:
        """Return videos with their vectors."""
        with _plain_errors():
            points = self.client.retrieve(
                self.collection, [point_id(video_id) for video_id in video_ids],
                with_payload=True, with_vectors=True,
            )  # fmt: skip
        return records_of(points, video_ids, self.find_layout())

    def payloads(
        self, video_ids: Sequence[str] | None = None
    ) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield id and payload of every video, or of some."""
        if video_ids is not None:
            ids = [point_id(video_id) for video_id in video_ids]
            with _plain_errors():
                points = self.client.retrieve(self.collection, ids, with_payload=True)
            yield from map(named_payload, points)
            return
        offset = None
        while True:
            with _plain_errors():
                points, offset = self.client.scroll(
                    self.collection, limit=PAGE, offset=offset, with_payload=True
                )
            yield from map(named_payload, points)
            if offset is None:
                return

    def count(self, allowed: Allowed = EVERY) -> int:
        """Count the videos that a query of these conditions may find."""
        with _plain_errors():
            found = where_filter(models, allowed)
            return self.client.count(self.collection, count_filter=found, exact=True).count

    def compact(self) -> None:
        """Do nothing: a server optimises by itself."""

    def close(self) -> None:
        """Close the connection."""
        self.client.close()


def connect(url: str) -> QdrantClient:
    """Connect to a server, with the key in `QDRANT_API_KEY` if there is one.

    Args:
        url: URL of the server.

    Raises:
        UserError: it is no URL of a server.
    """
    try:
        return QdrantClient(
            url=url, api_key=os.environ.get(KEY) or None, timeout=TIMEOUT,
            # the check would warn of a server that does not answer, before our own error message
            check_compatibility=False,
        )  # fmt: skip
    except ValueError as error:
        raise UserError(f"{quote(url)} is no address of a Qdrant server: {error}") from None


def _vectors_config(layout: Layout) -> dict[str, models.VectorParams]:
    multivector = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
    return {
        name: models.VectorParams(
            size=size, distance=models.Distance.DOT, multivector_config=multivector,
            datatype=models.Datatype.FLOAT16, hnsw_config=models.HnswConfigDiff(m=links),
        )
        for name, size, links in vector_layouts(layout)
    }  # fmt: skip


def _refuse_too_long(record: Record, layout: Layout) -> None:
    tokens = point_vectors(record, layout)[TOKENS]
    if tokens.size >= LARGEST:
        raise UserError(
            f"video {quote(record.video_id)} has {len(tokens):,} tokens, and a Qdrant server takes "
            f"at most {(LARGEST - 1) // tokens.shape[1]:,} of this size: extract with a longer "
            "--stride, cut the video, or use the embedded engine, which has no such limit"
        )


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Turn errors of the connection and of the server into a UserError of one line."""
    try:
        yield
    except ResponseHandlingException as error:
        raise UserError(f"the Qdrant server does not answer ({error}): is it running?") from None
    except UnexpectedResponse as error:
        reason = " ".join(error.content.decode(errors="replace").split())[:200]
        raise UserError(f"the Qdrant server refused ({error.status_code}): {reason}") from None
    except ValueError:  # the answer is not JSON, or has other entries than expected
        raise UserError("the program at the engine's address is not a Qdrant server") from None
