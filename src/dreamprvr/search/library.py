"""A library of videos: indexed once, searched by sentences.

    with Library.create("library", "features.hdf5") as library:
        library.update("features.hdf5")
        for hit in library.search("a man flips a pancake").hits:
            print(hit.video.title, hit.moments[0].start)

The folder holds `library.json`, `model.ckpt` if a trained model searches, the engine's own files,
and while something is indexed `progress.json`.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dreamprvr.core.errors import UserError
from dreamprvr.core.files import reason
from dreamprvr.evaluation.moments import MomentRule
from dreamprvr.extraction.feature_file import ExtractionSettings, FeatureFile
from dreamprvr.search.access import FolderLock, Session, WriterTurn, is_wanted
from dreamprvr.search.catalogue import Payload, library_video
from dreamprvr.search.engine.filters import check_columns, matches
from dreamprvr.search.engine.opening import create_engine, new_collection
from dreamprvr.search.engine.points import values
from dreamprvr.search.indexing import Report, UpdateReport, Writer
from dreamprvr.search.manifest import (
    EDGE,
    NAME,
    OURS,
    Manifest,
    check_engine,
    read_manifest,
    refuse_links_in,
)
from dreamprvr.search.model import (
    LibraryModel,
    ModelFile,
    check_encoder,
    check_model,
    find_encoder,
    forget,
    keep_model,
    read_model,
    search_model,
)
from dreamprvr.search.results import LibraryVideo, SearchResult
from dreamprvr.search.rows import RowStore
from dreamprvr.search.searching import RESCORED, Candidates, Searcher, check_ids, check_where

StrPath = str | os.PathLike[str]


class Library:
    """An open library; `Library.open` and `Library.create` make one.

    Several processes may search at once. A method that writes keeps all others out while it runs,
    and is refused if any other process has the library open and does not give way. Threads may
    search in parallel, but not while another thread writes.

    Args:
        path: folder of the library.
        device: name of the device on which the model and the encoder run.
        rule: what a moment is.
        gives_way: for a program that keeps the library open for long: writers wait a while for it
            to close the library, which it must do when `is_wanted`.

    Raises:
        UserError: there is no library, it is damaged, or another process writes it.
    """

    def __init__(
        self,
        path: StrPath,
        device: str = "auto",
        rule: MomentRule | None = None,
        gives_way: bool = False,
    ) -> None:
        self.path = Path(path)
        self.manifest: Manifest = read_manifest(self.path)
        self._payloads: dict[str, Payload] | None = None
        self._model = LibraryModel(self.path, self.manifest, device)
        self._session = Session(self.path, self.manifest, self._model.model.layout, gives_way)
        self._rule = rule
        # a server's vectors are left where they are
        embedded = self.manifest.engine == EDGE
        self._store = RowStore(self.path, self._model.model) if embedded else None

    @classmethod
    def open(
        cls,
        path: StrPath,
        device: str = "auto",
        rule: MomentRule | None = None,
        gives_way: bool = False,
    ) -> "Library":
        """Open a library, as the constructor does."""
        return cls(path, device, rule, gives_way)

    @classmethod
    def create(
        cls,
        path: StrPath,
        features: StrPath,
        checkpoint: StrPath | None = None,
        engine: str = "edge",
        device: str = "auto",
        trust_features: bool = False,
    ) -> "Library":
        """Make a library for videos like those of a feature file, still empty: `update` fills it.

        Args:
            path: path of a new folder.
            features: path of a feature file, which says which encoder and which seconds.
            checkpoint: path of a training's checkpoint; None searches untrained.
            engine: "edge", or the URL of a Qdrant server.
            device: name of the device on which the model and the encoder run.
            trust_features: accept a checkpoint that does not say what it was trained on.

        Raises:
            UserError: the checkpoint or the encoder does not fit the features, or the folder holds
                something else.
        """
        weights = None if checkpoint is None else Path(checkpoint)
        create_library(Path(path), Path(features), weights, engine, device, trust_features)
        return cls(path, device)

    def __enter__(self) -> "Library":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of files and locks; again is harmless."""
        self._session.close()

    def prepare(self) -> None:
        """Load the encoder now and not with the first search.

        Raises:
            UserError: it is missing, or is another than made the features.
        """
        self._model.encoder()

    def is_wanted(self) -> bool:
        """Return whether another process waits to write; closing the library lets it in.

        Once it is done, the library can be opened again.
        """
        return is_wanted(self.path)

    # Searching

    def search(
        self,
        text: str,
        k: int = 10,
        where: Mapping[str, Any] | None = None,
        moments: int = 3,
        threshold: float | None = None,
        candidates: Candidates = None,
        rescored: int = RESCORED,
    ) -> SearchResult:
        """Find the best videos for a sentence, and the moments in them.

        Args:
            text: the sentence.
            k: number of videos wanted, at most; up to `searching.MOST`.
            where: metadata column to a value, or to a list of values that are allowed.
            moments: number of moments wanted of each video, at most.
            threshold: smallest score of a video that is given.
            candidates: number of videos that are scored exactly, found by their segments; "all"
                scores every video, and None does so unless there are more than `searching.EXACT`.
            rescored: number of the best videos that a model whose score is more than the sum of
                maxima, such as MS-SL, scores again; at least k are. Other models ignore it.

        Raises:
            UserError: the query is empty or no text, a number is out of its range, or there is no
                such column.
        """
        check_where(where)
        if where:
            check_columns(where, self.columns())
        searcher = Searcher(self._session.engine, self._model, self._rule, self._store)
        return searcher.search(text, k, where or {}, moments, threshold, candidates, rescored)

    def videos(self, where: Mapping[str, Any] | None = None) -> list[LibraryVideo]:
        """List the videos that a filter leaves, by id."""
        check_where(where)
        videos = (library_video(*item) for item in sorted(self._known().items()))
        return [video for video in videos if matches(video.metadata, where)]

    def video(self, video_id: str) -> LibraryVideo | None:
        """Give one video, or None."""
        payload = self._known().get(video_id)
        return None if payload is None else library_video(video_id, payload)

    def columns(self) -> dict[str, list[str]]:
        """List the metadata columns with the values that videos have, sorted."""
        found: dict[str, set[str]] = {}
        for payload in self._known().values():
            for column, held in payload["metadata"].items():
                found.setdefault(column, set()).update(str(value) for value in values(held))
        return {column: sorted(found[column]) for column in sorted(found)}

    # Writing

    def update(
        self,
        features: StrPath,
        metadata: StrPath | None = None,
        progress: Report | None = None,
        prune: bool = False,
    ) -> UpdateReport:
        """Take in the videos of a feature file, touching only those that changed.

        What was written survives a crash, and running it again completes it.

        Args:
            features: path of a feature file of the same encoder and seconds as the library's.
            metadata: path of a CSV; replaces the metadata of the videos that it names.
            progress: function that is told how many are done, of how many, and which comes next.
            prune: also remove videos that the feature file does not hold.

        Raises:
            UserError: other features, a bad CSV, or another process has the library open.
        """
        with FeatureFile(Path(features)) as file, self._writing() as writer:
            return writer.update(file, metadata, progress, prune)

    def set_metadata(self, path: StrPath) -> UpdateReport:
        """Replace the metadata of the videos that a CSV names."""
        with self._writing() as writer:
            return writer.set_metadata(path)

    def delete(self, video_ids: Iterable[str]) -> list[str]:
        """Remove videos.

        Returns:
            The ids of those that were there.
        """
        ids = check_ids(video_ids)
        with self._writing() as writer:
            return writer.delete(ids)

    def compact(self) -> None:
        """Free what deleted videos took, and build what makes search fast."""
        with self._writing() as writer:
            writer.engine.compact()

    def _known(self) -> dict[str, Payload]:
        if self._payloads is None:
            self._payloads = dict(self._session.engine.payloads())
        return self._payloads

    @contextmanager
    def _writing(self) -> Iterator[Writer]:
        """Give what writes, with everybody else kept out."""
        try:
            with self._session.writing() as engine:
                known = dict(engine.payloads())
                model = self._model.model
                writer = Writer(self.path, self.manifest, engine, model, known, self._store)
                yield writer
                self._model.settings = writer.manifest.settings
                self.manifest = writer.manifest
        finally:
            self._payloads = None


def create_library(
    folder: Path,
    features: Path,
    checkpoint: Path | None,
    engine: str,
    device: str,
    trust_features: bool,
) -> None:
    """Make a library; see `Library.create`.

    It is complete or not there at all: the manifest comes last, and without it there is no library.
    """
    check_engine(engine, "--engine")
    with FeatureFile(features) as file:
        settings = file.settings
    model = None if checkpoint is None else read_model(checkpoint)
    if model is not None and checkpoint is not None:
        check_model(model, checkpoint, settings, trust_features)
    check_encoder(find_encoder(settings, device), settings, model)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        foreign = [entry for entry in folder.iterdir() if entry.name not in (NAME, *OURS)]
    except OSError as error:
        raise UserError(f"{folder} cannot be made: {reason(error)}") from None
    if foreign:  # asked before the lock, which leaves files
        raise UserError(f"{folder} holds other files: name a new folder for the library")
    refuse_links_in(folder)
    writer = WriterTurn(folder)
    try:
        lock = FolderLock(folder, write=True)
        try:
            _fill(folder, settings, engine, checkpoint, model)
        finally:
            lock.release()
    finally:
        writer.release()


def _fill(
    folder: Path,
    settings: ExtractionSettings,
    engine: str,
    checkpoint: Path | None,
    model: ModelFile | None,
) -> None:
    if (folder / NAME).exists():
        raise UserError(f"{folder} is a library already; open it, or name another folder")
    forget(folder)
    if checkpoint is not None:
        keep_model(checkpoint, folder)
    digest = "" if model is None else model.digest
    layout = search_model(model, settings, "cpu").layout
    manifest = Manifest(settings, layout.dim, engine, new_collection(engine), digest)
    create_engine(folder, manifest, layout).close()
    manifest.write(folder)
