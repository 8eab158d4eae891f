"""From a feature file into the engine, touching only what changed."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from dreamprvr.core.errors import UserError
from dreamprvr.core.text import one_line, quote
from dreamprvr.extraction.feature_file import FeatureFile
from dreamprvr.search.catalogue import (
    SOURCE,
    Payload,
    make_payload,
    metadata_of,
    path_of,
    quoted,
    same_vectors,
)
from dreamprvr.search.engine import Engine, Record
from dreamprvr.search.layout import METADATA
from dreamprvr.search.progress import Report
from dreamprvr.search.renaming import Renames
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
        renamed: videos that the library had under another id.
        replaced: those ids.
        warnings: lines for the user.
    """

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    described: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    renamed: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def text(self) -> str:
        """One line of numbers."""
        names = ("added", "changed", "described", "unchanged", "removed")
        line = ", ".join(f"{len(getattr(self, name)):,} {name}" for name in names)
        return f"{line}, {len(self.renamed):,} renamed" if self.renamed else line


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
        self._refuse_namesakes(features)
        paths = {name: quoted(features.record(name).path) for name in features.video_ids()}
        renames = Renames(self.known, paths)
        batch: list[_Video] = []
        described: list[_Video] = []
        for number, video_id in enumerate(paths):
            report(number, len(paths), video_id)
            video = self._video(features, video_id, renames)
            if self._encodes(video, done):
                batch.append(video)
            elif self.known[video_id] != video.payload or video.replaces:
                described.append(video._replace(rows=np.empty(0)))  # they would fill the memory
            if len(batch) >= BATCH_VIDEOS or sum(len(one.rows) for one in batch) >= BATCH_ROWS:
                self._write(batch)
                batch = []
        self._write(batch)
        self._describe(described, {*paths, *done.replaced}, done)
        report(len(paths), len(paths), "")
        return done

    def _refuse_namesakes(self, features: FeatureFile) -> None:
        """Refuse a video that would take the place of another one that has the same id by chance.

        It is another one if its path, its size or time, and its rows differ, unless its file is
        there and the other one's is gone: then it was moved and made anew.
        """
        for video_id in features.video_ids():
            before = self.known.get(video_id)
            if before is None:
                continue
            record, source = features.record(video_id), before[SOURCE]
            same = (record.size, record.mtime_ns) == (source["size"], source["mtime_ns"])
            ours, theirs = path_of(before), record.path
            if same or not source["path"] or ours == theirs or str(theirs) in ("", "."):
                continue
            if os.path.lexists(theirs) and not os.path.lexists(ours):
                continue
            if not same_vectors(before, make_payload(record, features[video_id], {})):
                raise UserError(
                    f"{features.path} has another video of id {quote(video_id)}, {one_line(theirs)}"
                    f", than the library, {one_line(ours)}: extract both into one feature file, "
                    "which gives each an id of its own, or delete the first from the library"
                )

    def _encodes(self, video: "_Video", done: UpdateReport) -> bool:
        """Note what becomes of a video; whether its rows are new."""
        before = self.known.get(video.video_id)
        new = before is None or not same_vectors(before, video.payload)
        done.replaced += video.replaces
        if video.replaces:
            done.renamed.append(video.video_id)
        elif before is None:
            done.added.append(video.video_id)
        elif new:
            done.changed.append(video.video_id)
        else:
            same = before == video.payload
            (done.unchanged if same else done.described).append(video.video_id)
        return new

    def _video(self, features: FeatureFile, video_id: str, renames: Renames) -> "_Video":
        _check_id(video_id)
        rows = features[video_id]
        if not np.isfinite(rows).all():
            raise UserError(f"{features.path}: {quote(video_id)} holds numbers that are not finite")
        payload = make_payload(features.record(video_id), rows, {})
        replaces = renames.replaced_by(payload, video_id not in self.known)
        metadata = self._metadata([video_id, *replaces])
        return _Video(video_id, rows, {**payload, METADATA: metadata}, replaces)

    def _metadata(self, video_ids: Sequence[str]) -> dict[str, Any]:
        """What the CSV says of the first id that it names, or what the library says of one."""
        for video_id in video_ids:
            if video_id in self.metadata:
                return dict(self.metadata[video_id])
        known = (metadata_of(self.known.get(video_id, {})) for video_id in video_ids)
        return dict(next(filter(None, known), {}))

    def _write(self, batch: Sequence["_Video"]) -> None:
        if not batch:
            return
        vectors = self.model.encode_videos([video.rows for video in batch])
        records = [
            Record(video.video_id, *found, video.payload)
            for video, found in zip(batch, vectors, strict=True)
        ]
        if self.store is not None:
            self.store.write(records)  # first, so that what the engine names is there
        self.engine.upsert(records)
        self._remove(batch)

    def _describe(self, videos: Sequence["_Video"], seen: set[str], done: UpdateReport) -> None:
        """Write payloads alone, also of videos that the feature file does not hold."""
        others = dict(described(self.known, self.metadata, seen))
        done.described += others
        payloads = {video.video_id: video.payload for video in videos}
        if payloads or others:
            self.engine.set_payloads({**payloads, **others})
        self._remove(videos)

    def _remove(self, videos: Sequence["_Video"]) -> None:
        """Take out what videos replace, once they are there themselves."""
        replaced = [name for video in videos for name in video.replaces]
        if replaced:
            self.engine.delete(replaced)


class _Video(NamedTuple):
    """A video of the feature file, and the ids that it replaces."""

    video_id: str
    rows: np.ndarray
    payload: Payload
    replaces: Sequence[str]


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
        raise UserError(f"video id {quote(video_id)} is no Unicode text: rename the file") from None
