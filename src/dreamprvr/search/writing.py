"""Changes a library, while its session keeps everybody else out."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dreamprvr.core.errors import UserError
from dreamprvr.core.files import DiskFull
from dreamprvr.core.text import normal_id
from dreamprvr.extraction.feature_file import ExtractionSettings, FeatureFile
from dreamprvr.search.catalogue import Payload, path_of
from dreamprvr.search.engine import Engine
from dreamprvr.search.indexing import Indexer, UpdateReport, described
from dreamprvr.search.manifest import Manifest
from dreamprvr.search.metadata import read_metadata
from dreamprvr.search.models import is_missing
from dreamprvr.search.progress import ProgressFile, Report
from dreamprvr.search.rows import RowStore
from dreamprvr.search.vectors import Model

StrPath = str | os.PathLike[str]


class Writer:
    """What `Library` does when it writes; its methods say what they do and what goes wrong.

    Args:
        folder: of the library.
        manifest: of the library.
        engine: open for writing.
        model: of the library.
        known: payloads of all videos, by id.
        store: of rows beside the engine, if there is one.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        engine: Engine,
        model: Model,
        known: Mapping[str, Payload],
        store: RowStore | None = None,
    ) -> None:
        self.folder, self.manifest = folder, manifest
        self.engine, self.model, self.known, self.store = engine, model, known, store

    def update(
        self,
        features: FeatureFile,
        metadata: StrPath | None,
        progress: Report | None,
        prune: bool,
    ) -> UpdateReport:
        """See `Library.update`."""
        differences = self.manifest.settings.differences(features.settings)
        if differences:
            raise UserError(
                f"{features.path} does not fit library {self.folder} ({differences} in the file): "
                "extract alike, or index into a new folder"
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
        """Take the encoder's name from features of the same weights: its folder may have moved."""
        before = self.manifest.settings.encoder
        if settings.encoder == before or is_missing(settings.encoder):
            return []
        self.manifest = replace(
            self.manifest, settings=replace(self.manifest.settings, encoder=settings.encoder)
        )
        self.manifest.write(self.folder)
        return [f"the library's encoder was {before}; from now on it is {settings.encoder}"]

    def set_metadata(self, path: StrPath) -> UpdateReport:
        """See `Library.set_metadata`."""
        columns, warnings = self._metadata(path, {})
        payloads = dict(described(self.known, columns))
        self.engine.set_payloads(payloads)
        unchanged = [name for name in self.known if name not in payloads]
        return UpdateReport(described=list(payloads), unchanged=unchanged, warnings=warnings)

    def delete(self, video_ids: Iterable[str]) -> list[str]:
        """See `Library.delete`."""
        forms = {normal_id(video_id): video_id for video_id in self.known}
        meant = (name if name in self.known else forms.get(normal_id(name)) for name in video_ids)
        found = [video_id for video_id in dict.fromkeys(meant) if video_id is not None]
        self.engine.delete(found)
        self._tidy()
        return found

    def _tidy(self) -> None:
        if self.store is not None:
            self.store.keep(payload for _, payload in self.engine.payloads())

    def _compact(self, report: UpdateReport) -> None:
        """All is written by now, so too little room to write it again is no failure."""
        try:
            self.engine.compact()
        except DiskFull as error:
            report.warnings.append(
                "all is written but not compacted, which `lightning library compact "
                f"{self.folder}` makes up for: {error}"
            )

    def _metadata(
        self, path: StrPath | None, new: Mapping[str, Path]
    ) -> tuple[Mapping[str, Mapping[str, Any]], list[str]]:
        """Columns of videos by id, and warnings; rows may name known videos and new ones."""
        if path is None:
            return {}, []
        paths = {name: path_of(payload) for name, payload in self.known.items()}
        table = read_metadata(Path(path), {**paths, **new})
        warning = table.warning(Path(path))
        return table.of, [warning] if warning else []
