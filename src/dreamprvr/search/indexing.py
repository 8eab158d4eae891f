"""From a feature file into the engine, touching only what changed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dreamprvr.errors import UserError
from dreamprvr.extraction.feature_file import FeatureFile
from dreamprvr.search.catalogue import Payload, make_payload, metadata_of, same_vectors
from dreamprvr.search.engine import Engine, Record
from dreamprvr.search.progress import Report
from dreamprvr.search.rows import RowStore
from dreamprvr.search.vectors import Model

BATCH_VIDEOS, BATCH_ROWS = 64, 8192  # encoded and written at once


@dataclass
class UpdateReport:
    """Ids of videos, by what an update did to them.

    Args:
        added: new.
        changed: with other rows than before; encoded again.
        described: other metadata or another place of the file; not encoded again.
        unchanged: untouched.
        removed: taken out.
        warnings: lines for the user.
    """

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    described: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def text(self) -> str:
        """One line of numbers."""
        names = ("added", "changed", "described", "unchanged", "removed")
        return ", ".join(f"{len(getattr(self, name)):,} {name}" for name in names)


@dataclass
class Indexer:
    """Writes the videos of a feature file.

    Args:
        engine: open for writing.
        model: encodes.
        known: payloads of the library's videos, by id.
        metadata: of videos, by id; the others keep theirs.
        store: of rows beside the engine, if there is one.
    """

    engine: Engine
    model: Model
    known: Mapping[str, Payload]
    metadata: Mapping[str, Mapping[str, Any]]
    store: RowStore | None = None

    def run(self, features: FeatureFile, report: Report) -> UpdateReport:
        """Add and replace videos; each batch is durable before the next one starts."""
        done = UpdateReport()
        ids = features.video_ids()
        batch: list[tuple[str, np.ndarray, Payload]] = []
        payloads: dict[str, Payload] = {}
        for number, video_id in enumerate(ids):
            report(number, len(ids), video_id)
            _check_id(video_id)
            rows = features[video_id]
            if not np.isfinite(rows).all():
                raise UserError(f"{features.path}: {video_id!r} holds numbers that are not finite")
            payload = make_payload(features.record(video_id), rows, self._metadata(video_id))
            before = self.known.get(video_id)
            if before is None or not same_vectors(before, payload):
                (done.added if before is None else done.changed).append(video_id)
                batch.append((video_id, rows, payload))
            elif before != payload:
                done.described.append(video_id)
                payloads[video_id] = payload
            else:
                done.unchanged.append(video_id)
            if len(batch) >= BATCH_VIDEOS or sum(len(r) for _, r, _ in batch) >= BATCH_ROWS:
                self._write(batch)
                batch = []
        self._write(batch)
        self._describe(payloads, set(ids), done)
        report(len(ids), len(ids), "")
        return done

    def _metadata(self, video_id: str) -> Mapping[str, Any]:
        if video_id in self.metadata:
            return self.metadata[video_id]
        return metadata_of(self.known.get(video_id, {}))

    def _write(self, batch: list[tuple[str, np.ndarray, Payload]]) -> None:
        if batch:
            vectors = self.model.encode_videos([rows for _, rows, _ in batch])
            records = [
                Record(video_id, *found, payload)
                for (video_id, _, payload), found in zip(batch, vectors, strict=True)
            ]
            if self.store is not None:
                self.store.write(records)  # first, so that what the engine names is there
            self.engine.upsert(records)

    def _describe(self, payloads: dict[str, Payload], seen: set[str], done: UpdateReport) -> None:
        """Write payloads alone, also of videos that the feature file does not hold."""
        others = dict(described(self.known, self.metadata, seen))
        done.described += others
        if payloads or others:
            self.engine.set_payloads({**payloads, **others})


def described(
    known: Mapping[str, Payload],
    metadata: Mapping[str, Mapping[str, Any]],
    besides: set[str] | None = None,
) -> Iterator[tuple[str, Payload]]:
    """New payloads of videos whose metadata is another than before."""
    for video_id, columns in metadata.items():
        if video_id in known and video_id not in (besides or ()):
            payload = {**known[video_id], "metadata": dict(columns)}
            if payload != known[video_id]:
                yield video_id, payload


def _check_id(video_id: str) -> None:
    try:
        video_id.encode()
    except UnicodeEncodeError:
        raise UserError(f"video id {video_id!r} is no Unicode text: rename the file") from None
