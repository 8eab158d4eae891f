"""Writing of a library: videos of a feature file are added, and only what changed is written.

Meanwhile `progress.json` in the library's folder tells other programs how many videos are done.
"""

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dreamprvr.core.errors import UserError
from dreamprvr.core.files import DiskFull, write_text
from dreamprvr.core.text import normal_id, one_line, quote
from dreamprvr.extraction.encoders import is_missing
from dreamprvr.extraction.feature_file import ExtractionSettings, FeatureFile
from dreamprvr.search.catalogue import (
    SOURCE,
    Payload,
    Renames,
    make_payload,
    metadata_of,
    path_of,
    quoted,
    read_metadata,
    same_vectors,
)
from dreamprvr.search.engine.draft import Draft
from dreamprvr.search.engine.interface import Engine, Record
from dreamprvr.search.engine.points import METADATA
from dreamprvr.search.manifest import PROGRESS
from dreamprvr.search.rows import RowStore

if TYPE_CHECKING:  # a library is listed without torch, which takes seconds to be imported
    from dreamprvr.search.encoding import SearchModel

StrPath = str | os.PathLike[str]
BATCH_VIDEOS, BATCH_ROWS = 64, 8192  # most videos and rows that are encoded and written at once
PAUSE = 0.2  # seconds between two writes of `progress.json`

Report = Callable[[int, int, str], None]
"""Function called with the number of videos done, the number of all, and the id of the next."""


class ProgressFile:
    """Writes a library's `progress.json` while a block runs, and removes it at the end.

    Args:
        folder: folder of the library.
        also: function that is called with the same arguments each time.
    """

    def __init__(self, folder: Path, also: Report | None = None) -> None:
        self.path = folder / PROGRESS
        self.also = also
        self._next = 0.0

    def __enter__(self) -> "ProgressFile":
        return self

    def __exit__(self, *exception: object) -> None:
        with suppress(OSError):
            self.path.unlink()

    def __call__(self, done: int, total: int, video: str) -> None:
        """Report progress.

        Args:
            done: number of videos done.
            total: number of all videos.
            video: id of the next video.
        """
        if self.also is not None:
            self.also(done, total, video)
        if time.monotonic() >= self._next:
            note = {"done": done, "total": total, "video": video, "pid": os.getpid()}
            write_text(self.path, json.dumps(note))
            self._next = time.monotonic() + PAUSE


@dataclass
class UpdateReport:
    """Ids of videos, by what an update did to them.

    Args:
        added: new videos.
        changed: videos with other rows than before; they were encoded again.
        described: videos with new metadata or a new path; they were not encoded again.
        unchanged: videos that were not touched.
        removed: videos that were removed.
        renamed: videos that the library had under another id.
        replaced: the old ids of those videos.
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
        """Return one line with the number of videos of each kind."""
        names = ("added", "changed", "described", "unchanged", "removed")
        line = ", ".join(f"{len(getattr(self, name)):,} {name}" for name in names)
        return f"{line}, {len(self.renamed):,} renamed" if self.renamed else line


@dataclass
class Indexer:
    """Writes the videos of a feature file.

    Args:
        engine: engine of the library, open for writing.
        model: model that encodes the videos.
        known: payloads of the library's videos, by id.
        metadata: new metadata by video id; other videos keep theirs.
        store: files of rows beside the engine, if there are any.
    """

    engine: Engine
    model: "SearchModel"
    known: Mapping[str, Payload]
    metadata: Mapping[str, Mapping[str, Any]]
    store: RowStore | None = None

    def run(self, features: FeatureFile, report: Report) -> UpdateReport:
        """Add and replace videos; each batch is safe on the disk before the next one starts.

        Args:
            features: the feature file, open.
            report: function that is told the progress.
        """
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
                described.append(video._replace(rows=np.empty(0)))  # rows would fill the memory
            waiting_rows = sum(len(waiting.rows) for waiting in batch)
            if len(batch) >= BATCH_VIDEOS or waiting_rows >= BATCH_ROWS:
                self._write(batch)
                batch = []
        self._write(batch)
        self._describe(described, {*paths, *done.replaced}, done)
        report(len(paths), len(paths), "")
        return done

    def _refuse_namesakes(self, features: FeatureFile) -> None:
        """Refuse a video that would replace a different video of the same id.

        It is a different video if its path, its size or time, and its rows differ. It counts as
        the same video if its file is there and the library's file is gone: the file was moved and
        made again.
        """
        for video_id in features.video_ids():
            before = self.known.get(video_id)
            if before is None:
                continue
            record, source = features.record(video_id), before[SOURCE]
            same = (record.size, record.mtime_ns) == (source["size"], source["mtime_ns"])
            old_path, new_path = path_of(before), record.path
            if same or not source["path"] or old_path == new_path or str(new_path) in ("", "."):
                continue
            if os.path.lexists(new_path) and not os.path.lexists(old_path):
                continue
            if not same_vectors(before, make_payload(record, features[video_id])):
                raise UserError(
                    f"video id {quote(video_id)} is {one_line(new_path)} in {features.path}, but "
                    f"{one_line(old_path)} in the library: extract both into one feature file, "
                    "which gives each an id of its own, or delete the library's video"
                )

    def _encodes(self, video: "_Video", done: UpdateReport) -> bool:
        """Enter a video in the report, and return whether it must be encoded.

        Args:
            video: video of the feature file.
            done: report that the video is entered in.
        """
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
        payload = make_payload(features.record(video_id), rows)
        replaces = renames.replaced_by(payload, video_id not in self.known)
        metadata = self._metadata([video_id, *replaces])
        return _Video(video_id, rows, {**payload, METADATA: metadata}, replaces)

    def _metadata(self, video_ids: Sequence[str]) -> dict[str, Any]:
        """Return the metadata of the first id in the CSV, or else of the first in the library."""
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
            Record(video.video_id, *video_vectors, video.payload)
            for video, video_vectors in zip(batch, vectors, strict=True)
        ]
        if self.store is not None:
            self.store.write(records)  # first, so that every video of the engine has its file
        self.engine.upsert(records)
        self._remove(batch)

    def _describe(self, videos: Sequence["_Video"], seen: set[str], done: UpdateReport) -> None:
        """Write payloads without vectors, also of videos that the feature file does not hold.

        Args:
            videos: videos of the feature file with new payloads.
            seen: ids of videos that need no further payload.
            done: report that the other videos are entered in.
        """
        others = dict(described(self.known, self.metadata, seen))
        done.described += others
        payloads = {video.video_id: video.payload for video in videos}
        if payloads or others:
            self.engine.set_payloads({**payloads, **others})
        self._remove(videos)

    def _remove(self, videos: Sequence["_Video"]) -> None:
        """Remove the old ids of videos, after the videos were written under their new ids."""
        replaced = [name for video in videos for name in video.replaces]
        if replaced:
            self.engine.delete(replaced)


class _Video(NamedTuple):
    """A video of the feature file, and its old ids in the library, which it replaces."""

    video_id: str
    rows: np.ndarray
    payload: Payload
    replaces: Sequence[str]


def described(
    known: Mapping[str, Payload],
    metadata: Mapping[str, Mapping[str, Any]],
    besides: set[str] | None = None,
) -> Iterator[tuple[str, Payload]]:
    """Yield ids and new payloads of the videos whose metadata changes.

    Args:
        known: payloads of the library's videos, by id.
        metadata: new metadata by video id.
        besides: ids of videos to leave out.
    """
    for video_id, columns in metadata.items():
        if video_id in known and video_id not in (besides or ()):
            payload = {**known[video_id], "metadata": dict(columns)}
            if payload != known[video_id]:
                yield video_id, payload


def _check_id(video_id: str) -> None:
    try:
        video_id.encode()
    except UnicodeEncodeError:
        raise UserError(
            f"video id {quote(video_id)} is not Unicode text: rename the file"
        ) from None


class Writer:
    """Carries out the writing methods of `Library`.

    Args:
        folder: folder of the library.
        draft: the next state of the library.
        model: model of the library.
        known: payloads of all videos, by id.
        store: files of rows beside the engine, if there are any.
    """

    def __init__(
        self,
        folder: Path,
        draft: Draft,
        model: "SearchModel",
        known: Mapping[str, Payload],
        store: RowStore | None = None,
    ) -> None:
        self.folder, self.engine = folder, draft
        self.model, self.known, self.store = model, known, store

    def update(
        self,
        features: FeatureFile,
        metadata: StrPath | None,
        progress: Report | None,
        prune: bool,
    ) -> UpdateReport:
        """Write the videos of a feature file, as `Library.update` describes.

        Args:
            features: the feature file, open.
            metadata: path of a CSV of metadata, or None.
            progress: function that is told the progress, or None.
            prune: whether to remove videos that the feature file does not hold.
        """
        differences = self.engine.manifest.settings.differences(features.settings)
        if differences:
            raise UserError(
                f"{features.path} does not fit library {self.folder} ({differences} in the file): "
                "extract with the library's settings, or index into a new folder"
            )
        new = {name: features.record(name).path for name in features.video_ids()}
        columns, warnings = self._metadata(metadata, new)
        with ProgressFile(self.folder, progress) as told:
            indexer = Indexer(self.engine, self.model, self.known, columns, self.store)
            report = indexer.run(features, told)
            if prune:
                report.removed = sorted(self.known.keys() - new.keys() - {*report.replaced})
                self.engine.delete(report.removed)
            if report.changed or report.removed or report.renamed:
                self._tidy()
            if report.added or report.changed or report.removed or report.renamed:
                self._compact(report)
        report.warnings += warnings + self._follow_encoder(features.settings)
        return report

    def _follow_encoder(self, settings: ExtractionSettings) -> list[str]:
        """Store the encoder's name of new features, since the encoder's folder may have moved.

        Args:
            settings: settings of the new features; the encoder has the same weights.

        Returns:
            A warning if the name changed, or nothing.
        """
        manifest = self.engine.manifest
        before = manifest.settings.encoder
        if settings.encoder == before or is_missing(settings.encoder):
            return []
        named = replace(manifest.settings, encoder=settings.encoder)
        self.engine.manifest = replace(manifest, settings=named)
        return [f"the library's encoder was {before}; from now on it is {settings.encoder}"]

    def set_metadata(self, path: StrPath) -> UpdateReport:
        """Replace the metadata of the videos that a CSV names.

        Args:
            path: path of the CSV.
        """
        columns, warnings = self._metadata(path, {})
        payloads = dict(described(self.known, columns))
        self.engine.set_payloads(payloads)
        unchanged = [name for name in self.known if name not in payloads]
        return UpdateReport(described=list(payloads), unchanged=unchanged, warnings=warnings)

    def delete(self, video_ids: Iterable[str]) -> list[str]:
        """Remove videos, and return the ids of those that the library had.

        Args:
            video_ids: ids in any Unicode form.
        """
        forms = {normal_id(video_id): video_id for video_id in self.known}
        meant = (name if name in self.known else forms.get(normal_id(name)) for name in video_ids)
        removed = [video_id for video_id in dict.fromkeys(meant) if video_id is not None]
        self.engine.delete(removed)
        self._tidy()
        return removed

    def _tidy(self) -> None:
        if self.store is not None:
            self.store.keep(payload for _, payload in self.engine.payloads())

    def _compact(self, report: UpdateReport) -> None:
        """Compact the library; a lack of space is a warning: all videos are written."""
        try:
            self.engine.compact()
        except DiskFull as error:
            report.warnings.append(
                "all videos are written, but the library could not be compacted; later, run "
                f"`lightning library compact {self.folder}`: {error}"
            )

    def _metadata(
        self, path: StrPath | None, new: Mapping[str, Path]
    ) -> tuple[Mapping[str, Mapping[str, Any]], list[str]]:
        """Read metadata by video id, and warnings.

        Args:
            path: path of a CSV; None reads nothing.
            new: paths of the feature file's videos, by id; the CSV may name these too.
        """
        if path is None:
            return {}, []
        paths = {name: path_of(payload) for name, payload in self.known.items()}
        table = read_metadata(Path(path), {**paths, **new})
        warning = table.warning(Path(path))
        return table.of, [warning] if warning else []
