"""index, search, library and serve: features become a library, which is searched."""

import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dreamprvr.cli.feature_verbs import STOPPED
from dreamprvr.core.errors import UserError
from dreamprvr.core.text import normal_id, one_line, shorten

if TYPE_CHECKING:
    from dreamprvr.search.library import Library
    from dreamprvr.search.searching import Candidates

SHOWN = 3  # files that are gone and are named
KEPT_IN = ".dreamprvr"  # folder, within one of videos, that `lightning up` keeps
LIBRARY = "library"  # name of the library in the folder that `lightning up` keeps


def index_features(
    features: Path,
    *,
    output: Path,
    ckpt_path: Path | None = None,
    metadata: Path | None = None,
    engine: str = "edge",
    device: str = "auto",
    trust_features: bool = False,
    prune: bool = False,
) -> int:
    """Turn features into a library. Run again, it touches only what changed.

    Args:
        features: feature file that `lightning extract` wrote.
        output: folder of the library.
        ckpt_path: checkpoint of a trained model; without it, search is untrained.
        metadata: CSV file with a column video_id or path, and any others; `tags` holds values
            between ';'.
        engine: edge (in this process), or the URL of a Qdrant server.
        device: cpu, cuda, cuda:1, mps, or auto.
        trust_features: accept a checkpoint that does not say which features it was trained on.
        prune: remove videos that the feature file lacks.
    """
    from tqdm import tqdm

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        library = open_or_create(output, features, ckpt_path, engine, device, trust_features)
    for warning in caught:
        print(f"warning: {warning.message}")
    with library, tqdm(desc="videos", unit="video", disable=None) as bar:

        def progress(done: int, total: int, video: str) -> None:
            bar.total = total
            bar.set_postfix_str(video[-30:], refresh=False)
            bar.update(done - bar.n)

        try:
            report = library.update(features, metadata, progress, prune)
        except KeyboardInterrupt:
            print(STOPPED)
            raise
        lacking = 0 if prune else _count_lacking(library, features)
        gone = _line_of_gone_files(library)
    for line in report.warnings:
        print(f"warning: {one_line(line)}")
    if lacking:
        print(
            f"{lacking:,} videos of {output} are not in {features} and stay; --prune removes them"
        )
    if gone:
        print(gone)
    print(f"{report.text()}; the library is in {output}")
    return 0


def open_or_create(
    folder: Path,
    features: Path,
    ckpt_path: Path | None,
    engine: str = "edge",
    device: str = "auto",
    trust: bool = False,
) -> "Library":
    """Open a library to write it, or make an empty one if there is none.

    Args:
        folder: folder of the library.
        features: feature file that will be indexed.
        ckpt_path: checkpoint of a trained model, or None.
        engine: edge, or the URL of a Qdrant server.
        device: a device of torch, or auto.
        trust: accept a checkpoint that does not say which features it was trained on.

    Raises:
        UserError: the library is of another model or engine, or cannot be opened or made.
    """
    from dreamprvr.search.library import Library
    from dreamprvr.search.manifest import NAME
    from dreamprvr.search.model import read_model

    if not (folder / NAME).is_file():
        return Library.create(folder, features, ckpt_path, engine, device, trust)
    library = Library.open(folder, device)
    try:
        if ckpt_path and read_model(ckpt_path).digest != library.manifest.checkpoint:
            raise UserError(
                f"library {folder} was indexed with another model than {ckpt_path}: index into a "
                "new folder"
            )
        if engine not in ("edge", library.manifest.engine):
            raise UserError(
                f"library {folder} lies in the engine {library.manifest.engine}: leave out "
                "--engine, or index into a new folder"
            )
    except BaseException:
        library.close()
        raise
    return library


def _count_lacking(library: "Library", features: Path) -> int:
    """Count the videos of a library that a feature file does not hold."""
    from dreamprvr.extraction.feature_file import FeatureFile

    with FeatureFile(features) as file:
        there = set(file.video_ids())
    return sum(video.video_id not in there for video in library.videos())


def _line_of_gone_files(library: "Library") -> str:
    """Say which video files are not where they were extracted; "" if all are there."""
    paths = [video.path for video in library.videos() if video.path is not None]
    gone = [one_line(shorten(str(path), 200)) for path in paths if not os.path.lexists(path)]
    if not gone:
        return ""
    more = ", ..." if len(gone) > SHOWN else ""
    return (
        f"{len(gone):,} of {len(paths):,} video files are gone, so they are found but not shown: "
        f"{', '.join(gone[:SHOWN])}{more}"
    )


def search_library(
    library: Path,
    query: str,
    *,
    k: int = 10,
    where: list[str] | None = None,
    moments: int = 3,
    threshold: float | None = None,
    candidates: str | None = None,
    rescored: int = 100,
    json: bool = False,
    device: str = "auto",
) -> int:
    """Find the videos and moments of a sentence.

    If `lightning serve` or `lightning up` has the library open, it answers, in a fraction of the
    time; `--device` searches in this process all the same.

    Args:
        library: folder that `lightning index` wrote, or the folder of videos of `lightning up`.
        query: sentence that says what happens.
        k: largest number of videos.
        where: COLUMN=VALUE: only videos with this metadata. Another column must hold too, the same
            column again allows another value.
        moments: largest number of moments of a video.
        threshold: smallest score of a video.
        candidates: number of videos that are scored exactly, found by an index, or `all`, which
            asks no index; by default all, or 800 of more than 2000.
        rescored: number of the best videos that a model whose score is more than the sum of maxima
            (MS-SL) scores again. Other models ignore it.
        json: print JSON.
        device: cpu, cuda, cuda:1, mps, or auto.
    """
    call: dict[str, Any] = {
        "text": query, "k": k, "where": where or [], "moments": moments, "threshold": threshold,
        "candidates": None if candidates is None else _count_or_all(candidates),
        "rescored": rescored,
    }  # fmt: skip
    folder = library_in(library)
    if device == "auto":
        from dreamprvr.search.address import ask_server

        if (answer := ask_server(folder, {**call, "json": json})) is not None:
            print(answer)
            return 0
    with _open(folder, device) as opened:
        from dreamprvr.search.engine.filters import parse_where
        from dreamprvr.search.results import as_json, as_text

        result = opened.search(**{**call, "where": parse_where(where or [])})
    print(as_json(result) if json else as_text(result))
    return 0


def library_in(folder: Path) -> Path:
    """Return the library that `lightning up` keeps in a folder, or else the folder itself."""
    kept = (folder, folder / KEPT_IN / LIBRARY, folder / LIBRARY)
    return next((path for path in kept if (path / "library.json").is_file()), folder)


def _open(folder: Path, device: str) -> "Library":
    """Open a library; refuse another folder before torch is imported, which takes seconds."""
    from dreamprvr.search.manifest import read_manifest

    read_manifest(folder)
    from dreamprvr.search.library import Library

    return Library.open(folder, device)


def _count_or_all(word: str) -> "Candidates":
    if word == "all":
        return "all"
    try:
        return int(word)
    except ValueError:
        raise UserError(f"--candidates {shorten(word)}: give a number, or all") from None


def manage_library(
    action: Literal["list", "delete", "compact", "metadata"],
    library: Path,
    what: list[str] | None = None,
    *,
    where: list[str] | None = None,
) -> int:
    """List, delete, compact or describe the videos of a library.

    The exit code is 1 if a video that is to be deleted is not in it.

    Args:
        action: list the videos, delete some, compact the files, or read metadata.
        library: folder that `lightning index` wrote, or the folder of videos of `lightning up`.
        what: ids of videos to delete, or the CSV file of metadata.
        where: COLUMN=VALUE: list only videos with this metadata.
    """
    words = what or []
    needs = {"delete": "the ids of videos", "metadata": "a CSV"}
    if action in needs and not words:
        raise UserError(f"library {action} needs {needs[action]}")
    if action not in needs and words:
        raise UserError(f"library {action} takes nothing but the folder")
    if action == "metadata" and len(words) > 1:
        raise UserError("library metadata takes one CSV")
    with _open(library_in(library), "cpu") as opened:
        if action == "list":
            _list(opened, where or [])
        elif action == "delete":
            return _delete(opened, words)
        elif action == "metadata":
            report = opened.set_metadata(words[0])
            lines = [f"warning: {one_line(line)}" for line in report.warnings]
            print(*lines, report.text(), sep="\n")
        else:
            opened.compact()
            print("compacted")
    return 0


def _list(library: "Library", where: list[str]) -> None:
    from dreamprvr.search.engine.filters import check_columns, parse_where
    from dreamprvr.search.results import video_line

    conditions = parse_where(where)
    check_columns(conditions, library.columns())
    videos = library.videos(conditions)
    print(*map(video_line, videos), f"{len(videos):,} videos", sep="\n")


def _delete(library: "Library", video_ids: list[str]) -> int:
    deleted = library.delete(video_ids)
    print(f"{len(deleted):,} of {len(set(video_ids)):,} videos deleted")
    if deleted:
        print("they come back with the next `lightning index` of a feature file that holds them")
    there = set(map(normal_id, deleted))
    absent = [name for name in dict.fromkeys(video_ids) if normal_id(name) not in there]
    for name in absent:
        print(f"no video of the library: {shorten(one_line(name))}", file=sys.stderr)
    return 1 if absent else 0


def serve_library(
    library: Path,
    *,
    port: int = 8000,
    host: str = "127.0.0.1",
    allowed_host: list[str] | None = None,
    open: bool = False,
    cache: Path | None = None,
    device: str = "auto",
) -> int:
    """Search a library in a browser, until Ctrl-C.

    Args:
        library: folder that `lightning index` wrote, or the folder of videos of `lightning up`.
        port: port to listen on; 0 takes a free one.
        host: address to listen on; any but this machine's own lets others in.
        allowed_host: host name or address that browsers may use for this machine; may be repeated.
        open: show the page in the browser.
        cache: folder for thumbnails, previews and clips, at most 2 GB; by default in the user's
            cache folder.
        device: cpu, cuda, cuda:1, mps, or auto.
    """
    if not 0 <= port <= 65535:
        raise UserError(f"--port {port} is no port; they go from 0 to 65535")
    try:
        from dreamprvr.serve.security import LOCAL_HOSTS
        from dreamprvr.serve.server import serve
    except ImportError as error:
        raise UserError(f"the page needs {error.name}: pip install 'dreamprvr[search]'") from None
    if host not in LOCAL_HOSTS and not allowed_host:
        raise UserError(
            f"--host {host} opens the page to other machines: say with --allowed_host NAME under "
            "which name they address this one"
        )
    try:
        serve(library_in(library), host, port, allowed_host or [], cache, device, open)
    except KeyboardInterrupt:  # the way to end it
        print()
    return 0
