"""A library of videos, which is indexed once and then searched by sentences.

    with Library.create("library", "features.hdf5") as library:
        library.update("features.hdf5")
        for hit in library.search("a man flips a pancake").hits:
            print(hit.video.title, hit.moments[0].start)

The folder holds `library.json`, `model.ckpt` if a trained model searches, the engine's own files,
and `progress.json` while videos are indexed.

To list the videos takes neither the model nor torch, whose import takes seconds. So these are
imported where they are needed.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dreamprvr.core.errors import UserError
from dreamprvr.core.files import reason
from dreamprvr.evaluation.moments import MomentRule
from dreamprvr.extraction.feature_file import ExtractionSettings, FeatureFile
from dreamprvr.search.access import Session, WriterTurn
from dreamprvr.search.background import Background, BackgroundFile
from dreamprvr.search.catalogue import Payload, library_video, metadata_of
from dreamprvr.search.conditions import find_allowed
from dreamprvr.search.engine.filters import may_find
from dreamprvr.search.engine.interface import EVERY
from dreamprvr.search.engine.opening import create_engine, new_collection
from dreamprvr.search.engine.points import values
from dreamprvr.search.indexing import Report, UpdateReport, Writer
from dreamprvr.search.manifest import (
    EDGE,
    MODEL,
    NAME,
    OURS,
    Manifest,
    check_engine,
    engines_in,
    read_manifest,
    refuse_links_in,
)
from dreamprvr.search.queries import RESCORED, Candidates, Query, check_ids, check_where
from dreamprvr.search.results import LibraryVideo, SearchResult
from dreamprvr.search.rows import RowStore
from dreamprvr.search.searching import Searcher
from dreamprvr.search.spoken import Spoken, SpokenWords, has_index

if TYPE_CHECKING:
    from dreamprvr.search.model import LibraryModel, ModelFile

StrPath = str | os.PathLike[str]


class Library:
    """An open library; `Library.open` and `Library.create` make one.

    Several processes may search at once, also while one of them writes: they search what was there
    before, until `renewed` opens what is there now. A method that writes is refused while another
    process writes. Threads may search in parallel, but not while another thread writes.

    Args:
        path: folder of the library.
        device: name of the device on which the model and the encoder run.
        rule: numbers of the rule that finds moments; None for the default ones.

    Raises:
        UserError: there is no library, or it is damaged.
    """

    def __init__(self, path: StrPath, device: str = "auto", rule: MomentRule | None = None) -> None:
        self.path = Path(path)
        self.manifest: Manifest = read_manifest(self.path)
        self._payloads: dict[str, Payload] | None = None
        self._kept_background: tuple[int, Background | None] | None = None  # with its state
        self._device, self._rule = device, rule
        self._session = Session(self.path, self.manifest, lambda: self._model.model.layout)
        self.manifest = self._session.manifest

    @cached_property
    def _model(self) -> "LibraryModel":
        from dreamprvr.search.model import LibraryModel

        return LibraryModel(self.path, self.manifest, self._device)

    @cached_property
    def _store(self) -> RowStore | None:
        # the vectors of a server are not kept a second time
        return RowStore(self.path, self._model.model) if self.manifest.engine == EDGE else None

    @classmethod
    def open(cls, path: StrPath, device: str = "auto", rule: MomentRule | None = None) -> "Library":
        """Open a library; the arguments are those of the constructor."""
        return cls(path, device, rule)

    @property
    def version(self) -> int:
        """Number of the finished state that is open; each write makes the next one."""
        return self.manifest.state

    def renewed(self) -> "Library | None":
        """Open the library a second time, if another process has written it since.

        Returns:
            The library as it is now, with the model and the encoder that are loaded here, unless
            it has others now; None if nothing has changed. Both are to be closed.

        Raises:
            UserError: see the constructor.
        """
        if self._session.is_current():
            return None
        library = Library(self.path, self._device, self._rule)
        if library.manifest.same_model(self.manifest):
            library._model = self._model
        return library

    @classmethod
    def create(
        cls,
        path: StrPath,
        features: StrPath,
        checkpoint: StrPath | None = None,
        engine: str = "edge",
        device: str = "auto",
        trust_features: bool = False,
        moment_tokens: bool = False,
    ) -> "Library":
        """Make an empty library for videos like those of a feature file; `update` fills it.

        Args:
            path: path of a new folder.
            features: path of a feature file; the library takes its encoder and seconds per row.
            checkpoint: path of a training's checkpoint; None searches untrained.
            engine: "edge", or the URL of a Qdrant server.
            device: name of the device on which the model and the encoder run.
            trust_features: accept a checkpoint that does not say what it was trained on.
            moment_tokens: without a checkpoint, index moment tokens (docs/models/tf_prvr.md) in
                place of the rows themselves.

        Raises:
            UserError: the checkpoint or the encoder does not fit the features, or the folder holds
                something else.
        """
        from dreamprvr.search.model import check_encoder, check_model, find_encoder, read_model

        folder, weights = Path(path), None if checkpoint is None else Path(checkpoint)
        if weights is not None and moment_tokens:
            raise UserError(
                "moment tokens are for search without training: leave out --moment_tokens, or "
                "--ckpt_path"
            )
        check_engine(engine, "--engine")
        with FeatureFile(Path(features)) as file:
            settings = file.settings
        model = None
        if weights is not None:
            check_model(model := read_model(weights), weights, settings, trust_features)
        check_encoder(find_encoder(settings, device), settings, model)
        _make_folder(folder)
        with WriterTurn(folder):
            _fill(folder, settings, engine, weights, model, moment_tokens)
        return cls(path, device)

    def __enter__(self) -> "Library":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Release files and locks; a second call does nothing."""
        self._session.close()

    def prepare(self) -> None:
        """Load the model and the encoder, and make the background, now and not with a search.

        Raises:
            UserError: the model is missing or damaged, or the encoder is missing or not the one
                that made the features.
        """
        self._model.encoder()
        self._background(self._searcher())

    # Searching

    def search(
        self,
        text: str | None = None,
        k: int = 10,
        where: Mapping[str, Any] | None = None,
        moments: int | Literal["all"] = 3,
        threshold: float | None = None,
        candidates: Candidates = None,
        rescored: int = RESCORED,
        *,
        without: str | None = None,
        then: str | None = None,
        like: tuple[str, float] | None = None,
        image: StrPath | bytes | None = None,
        name: str | None = None,
        skip: int = 0,
        subtitles: bool = True,
    ) -> SearchResult:
        """Find the best videos for a sentence, a moment or a picture, and the moments in them.

        Args:
            text: the sentence; None for a search by `like` or `image`.
            k: largest number of videos to return; up to `queries.MOST`.
            where: condition, or list of conditions, by metadata column: an allowed value, a range
                such as "2020..2022", or a bound such as ">=2020". One of the values and ranges
                must be met, and all bounds. The column "length" holds the seconds of a video,
                unless the metadata has such a column.
            moments: largest number of moments of each video, or "all".
            threshold: videos of a lower score are left out; None leaves out none.
            candidates: number of videos that are scored exactly, found by their segments; "all"
                scores every video, and None does so unless there are more than `queries.EXACT`.
            rescored: number of the best videos that are scored again, at least k: by a model whose
                score is more than the sum of maxima, such as MS-SL, or for `without` and `then`.
            without: sentence of what the moment must not show.
            then: sentence of what must follow later in the same video.
            like: id of a video of the library, and a second in it: finds moments like this one in
                the other videos.
            image: path of a picture, or the content of its file: finds moments like it.
            name: words that the video's title, id or path must contain, in any case and order.
            skip: number of the best videos to leave out, for the next page of an answer.
            subtitles: whether the words of subtitles are searched too, for a `text` without
                `without` and `then`.

        Raises:
            UserError: the query is empty or not text, a number is out of its range, there is no
                column or video of that name, the picture cannot be read, or the model or the
                encoder cannot be loaded.
        """
        picture = Path(image) if isinstance(image, str | os.PathLike) else image
        query = Query(
            text, k, where, moments, threshold, candidates, rescored, without, then, like, picture,
            name, skip, subtitles,
        )  # fmt: skip
        query.check()
        allowed = EVERY
        if where or name is not None:
            allowed = find_allowed(where, name, self.columns(), self._known())
        searcher = self._searcher()

        def find_spoken(words: str) -> list[list[Spoken]]:
            spoken = SpokenWords(self.path)
            if allowed is EVERY:
                return spoken.find(words, lambda video_id: True)
            known = self._known()
            return spoken.find(
                words,
                lambda name: name in known and may_find(allowed, name, metadata_of(known[name])),
            )

        return searcher.search(query, allowed, self._background(searcher), find_spoken)

    def _searcher(self) -> Searcher:
        return Searcher(self._session.engine, self._model, self._rule, self._store)

    def _background(self, searcher: Searcher) -> Background | None:
        """Return the scores of the background's sentences; the first search of a library makes it.

        Args:
            searcher: searcher of the library.
        """
        state = self.manifest.videos_of
        if self._kept_background is None or self._kept_background[0] != state:
            fingerprint = self.manifest.settings.fingerprint
            kind = f"{self.manifest.checkpoint} {fingerprint} {self.manifest.collection}"
            file = BackgroundFile(self.path, f"{kind} {state}")
            videos = searcher.engine.count()
            background = file.read(videos)
            if background is None and videos:
                background = searcher.background()
                if background is not None:
                    file.write(background, videos)
            self._kept_background = state, background
        return self._kept_background[1]

    def videos(self, where: Mapping[str, Any] | None = None) -> list[LibraryVideo]:
        """List the videos that match a filter, in the order of their ids.

        Args:
            where: conditions by metadata column, as for `search`; None lists all.

        Raises:
            UserError: there is no column of that name.
        """
        check_where(where)
        known = self._known()
        allowed = find_allowed(where, None, self.columns(), known) if where else EVERY
        return [
            library_video(video_id, payload)
            for video_id, payload in sorted(known.items())
            if may_find(allowed, video_id, metadata_of(payload))
        ]

    def video(self, video_id: str) -> LibraryVideo | None:
        """Return the video of an id, or None if there is none."""
        payload = self._known().get(video_id)
        return None if payload is None else library_video(video_id, payload)

    def columns(self) -> dict[str, list[str]]:
        """List the metadata columns with the values that videos have, sorted."""
        columns: dict[str, set[str]] = {}
        for payload in self._known().values():
            for column, held in payload["metadata"].items():
                columns.setdefault(column, set()).update(str(value) for value in values(held))
        return {column: sorted(columns[column]) for column in sorted(columns)}

    # Writing

    def update(
        self,
        features: StrPath,
        metadata: StrPath | None = None,
        progress: Report | None = None,
        prune: bool = False,
    ) -> UpdateReport:
        """Add the videos of a feature file, and write only those that changed.

        Written videos survive a crash; a second run completes the update.

        Args:
            features: path of a feature file of the same encoder and seconds as the library's.
            metadata: path of a CSV that replaces the metadata of the videos it names.
            progress: function called with the number of videos done, the number of all videos and
                the id of the next.
            prune: whether to remove videos that the feature file does not hold.

        Raises:
            UserError: the features are of another kind, the CSV is bad, or another process writes
                the library.
        """
        with FeatureFile(Path(features)) as file, self._writing() as writer:
            report = writer.update(file, metadata, progress, prune)
            report.warnings += self._read_subtitles(file, writer)
            return report

    def _read_subtitles(self, features: FeatureFile, writer: Writer) -> list[str]:
        """Read the subtitles beside the videos of a feature file, and return warnings.

        Args:
            features: the feature file, open.
            writer: writer of the library, after it has written the videos.
        """
        if not has_index():
            return ["the SQLite of this Python has no full-text index: subtitles are left out"]
        records = {name: features.record(name) for name in features.video_ids()}
        videos = {name: (record.path, record.duration) for name, record in records.items()}
        known = {video_id for video_id, _ in writer.engine.payloads()}
        return SpokenWords(self.path).update(videos, known)

    def set_metadata(self, path: StrPath) -> UpdateReport:
        """Replace the metadata of the videos that a CSV names.

        Args:
            path: path of the CSV.
        """
        with self._writing() as writer:
            return writer.set_metadata(path)

    def delete(self, video_ids: Iterable[str]) -> list[str]:
        """Remove videos.

        Args:
            video_ids: ids of the videos.

        Returns:
            The ids of the videos that were in the library.
        """
        ids = check_ids(video_ids)
        with self._writing() as writer:
            deleted = writer.delete(ids)
            SpokenWords(self.path).delete(deleted)
            return deleted

    def compact(self) -> None:
        """Free the space of deleted videos, and rebuild the engine's indexes for fast searches."""
        with self._writing() as writer:
            writer.engine.compact()

    def _known(self) -> dict[str, Payload]:
        if self._payloads is None:
            self._payloads = dict(self._session.engine.payloads())
        return self._payloads

    @contextmanager
    def _writing(self) -> Iterator[Writer]:
        """Yield a writer of the next state, which is searched from the end of the block on."""
        model = self._model.model  # loaded before other writers are kept out
        try:
            with self._session.writing() as draft:
                yield Writer(self.path, draft, model, dict(draft.payloads()), self._store)
        finally:
            self.manifest = self._session.manifest
            self._model.settings = self.manifest.settings
            self._payloads = self._kept_background = None


def _make_folder(folder: Path) -> None:
    """Make the folder of a library, unless it holds other files."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        own = (NAME, *OURS, *engines_in(folder))
        foreign = [entry for entry in folder.iterdir() if entry.name not in own]
    except OSError as error:
        raise UserError(f"{folder} cannot be made: {reason(error)}") from None
    if foreign:  # checked before the lock is taken, since the lock makes files
        raise UserError(f"{folder} holds other files: name a new folder for the library")
    refuse_links_in(folder)


def _fill(
    folder: Path,
    settings: ExtractionSettings,
    engine: str,
    checkpoint: Path | None,
    model: "ModelFile | None",
    moment_tokens: bool,
) -> None:
    """Make an empty library in a folder.

    The manifest is written last, and a folder without it is no library. So an interrupted call
    leaves no half-made library.
    """
    from dreamprvr.search.model import forget, search_model, write_model

    if (folder / NAME).exists():
        raise UserError(f"{folder} is a library already; open it, or name another folder")
    forget(folder)
    if checkpoint is not None:
        write_model(checkpoint, folder / MODEL)
    digest = "" if model is None else model.digest
    layout = search_model(model, settings, "cpu").layout
    collection = new_collection(engine)
    manifest = Manifest(settings, layout.dim, engine, collection, digest, moment_tokens)
    create_engine(folder, manifest, layout).close()
    manifest.write(folder)
