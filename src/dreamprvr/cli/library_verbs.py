"""index, search, library and serve: features become a library, which is searched."""

import os
import re
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dreamprvr.cli.feature_verbs import STOPPED
from dreamprvr.core.errors import UserError
from dreamprvr.core.text import normal_id, number, one_line, shorten

if TYPE_CHECKING:
    from dreamprvr.search.library import Library

SHOWN = 3  # missing files that a message names
KEPT_IN = ".dreamprvr"  # folder of `lightning up`, inside the first folder of videos
LIBRARY = "library"  # name of the library in the folder of `lightning up`


def index_features(
    features: Path,
    *,
    output: Path,
    ckpt_path: Path | None = None,
    metadata: Path | None = None,
    engine: str = "edge",
    device: str = "auto",
    trust_features: bool = False,
    moment_tokens: bool = False,
    prune: bool = False,
) -> int:
    """Turn features into a library. Run again, it touches only what changed.

    Args:
        features: feature file that `lightning extract` wrote.
        output: folder of the library.
        ckpt_path: checkpoint of a trained model; without it, search is untrained.
        metadata: CSV file with a column video_id or path, and any others; values of `tags` are
            separated by ';'.
        engine: edge (in this process), or the URL of a Qdrant server.
        device: cpu, cuda, cuda:1, mps, or auto.
        trust_features: accept a checkpoint that does not say which features it was trained on.
        moment_tokens: without a checkpoint, replace each row by the moments around it (TF-PRVR,
            docs/models/tf_prvr.md). This is fixed when the library is made.
        prune: remove videos that the feature file lacks.
    """
    from dreamprvr.core.progress import ProgressBar

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        library = open_or_create(
            output, features, ckpt_path, engine, device, trust_features, moment_tokens
        )
    for warning in caught:
        print(f"warning: {warning.message}")
    with library, ProgressBar(desc="videos", unit="video") as bar:

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
    moment_tokens: bool = False,
) -> "Library":
    """Open a library to write it, or make an empty one if there is none.

    Args:
        folder: folder of the library.
        features: feature file that will be indexed.
        ckpt_path: checkpoint of a trained model, or None.
        engine: edge, or the URL of a Qdrant server.
        device: a device of torch, or auto.
        trust: accept a checkpoint that does not say which features it was trained on.
        moment_tokens: make the library with moment tokens.

    Raises:
        UserError: the library is of another model or engine, or cannot be opened or made.
    """
    from dreamprvr.search.library import Library
    from dreamprvr.search.manifest import NAME
    from dreamprvr.search.model import read_model

    if not (folder / NAME).is_file():
        return Library.create(folder, features, ckpt_path, engine, device, trust, moment_tokens)
    library = Library.open(folder, device)
    try:
        if ckpt_path and read_model(ckpt_path).digest != library.manifest.checkpoint:
            raise UserError(
                f"library {folder} was indexed with another model than {ckpt_path}: index into a "
                "new folder"
            )
        if moment_tokens and not library.manifest.moment_tokens:
            raise UserError(
                f"library {folder} was made without moment tokens: leave out --moment_tokens, or "
                "index into a new folder"
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
    query: str | None = None,
    *,
    k: int = 10,
    skip: int = 0,
    where: list[str] | None = None,
    name: str | None = None,
    without: str | None = None,
    then: str | None = None,
    like: str | None = None,
    image: Path | None = None,
    moments: str = "3",
    threshold: float | None = None,
    candidates: str | None = None,
    rescored: int = 100,
    no_subtitles: bool = False,
    json: bool = False,
    device: str = "auto",
) -> int:
    """Find the videos and moments of a sentence, or those like a moment or a picture.

    If `lightning serve` or `lightning up` has the library open, it answers, in a fraction of the
    time; `--device` searches in this process all the same.

    Args:
        library: folder that `lightning index` wrote, or the folder of videos of `lightning up`.
        query: sentence that says what happens.
        k: largest number of videos.
        skip: number of the best videos to leave out, for the next page: -k 10 --skip 10.
        where: only videos with this metadata: COLUMN=VALUE, a range COLUMN=2020..2022, or a bound
            'COLUMN>=2020' (numbers, dates; `length` is in seconds). May be repeated: values of one
            column are alternatives, and all columns and all bounds must hold.
        name: words in the video's title, id or path.
        without: sentence of what the moment must not show.
        then: sentence of what must follow later in the same video.
        like: VIDEO@SECOND, in place of the sentence: moments like this one of the library.
        image: picture, in place of the sentence: moments like it.
        moments: largest number of moments of a video, or `all`.
        threshold: smallest score of a video, as `--json` gives it.
        candidates: number of videos that are found by an index and scored exactly, or `all`; by
            default all, or 800 in a library of more than 2000 videos.
        rescored: number of the best videos that are scored again, for --without and --then, or by
            a model whose score is more than the sum of maxima (MS-SL).
        no_subtitles: do not search the words of subtitles.
        json: print JSON.
        device: cpu, cuda, cuda:1, mps, or auto.
    """
    call: dict[str, Any] = {
        "text": query, "k": k, "skip": skip, "where": where or [], "name": name,
        "without": without, "then": then, "like": None if like is None else _video_and_second(like),
        "image": None if image is None else os.path.abspath(image),
        "moments": _count_or_all("--moments", moments), "threshold": threshold,
        "candidates": None if candidates is None else _count_or_all("--candidates", candidates),
        "rescored": rescored, "subtitles": not no_subtitles,
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


def _video_and_second(word: str) -> tuple[str, float]:
    """Read a moment such as `film@12.5`; an id may hold an @ itself."""
    video_id, _, second = word.rpartition("@")
    value = number(second)
    if not video_id or value is None or value < 0:
        raise UserError(f"--like {shorten(word)}: write VIDEO@SECOND, say --like film@12.5")
    return video_id, value


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


def _count_or_all(option: str, word: str) -> int | Literal["all"]:
    if word == "all":
        return "all"
    try:
        return int(word)
    except ValueError:
        raise UserError(f"{option} {shorten(word)}: give a number, or all") from None


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
        where: list only videos with this metadata, as for `search`.
    """
    words = what or []
    needs = {"delete": "the ids of videos", "metadata": "a CSV"}
    if action in needs and not words:
        raise UserError(f"library {action} needs {needs[action]}")
    if action not in needs and words:
        raise UserError(f"library {action} takes only the folder")
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
    from dreamprvr.search.engine.filters import parse_where
    from dreamprvr.search.results import video_line

    videos = library.videos(parse_where(where))
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
    token: str | None = None,
    no_token: bool = False,
) -> int:
    """Search a library in a browser, until Ctrl-C.

    Args:
        library: folder that `lightning index` wrote, or the folder of videos of `lightning up`.
        port: port to listen on; 0 takes a free one.
        host: address to listen on; any but this machine's own lets others in, and 0.0.0.0 stands
            for all addresses of this machine.
        allowed_host: further host name that browsers may use for this machine; may be repeated.
        open: show the page in the browser.
        cache: folder for thumbnails, pieces of videos and clips, at most 2 GB; by default in the
            user's cache folder.
        device: cpu, cuda, cuda:1, mps, or auto.
        token: password in the page's address; made up where other machines or other users of this
            machine can reach the page. Other users may see the words of a command line.
        no_token: ask for no token.
    """
    if not 0 <= port <= 65535:
        raise UserError(f"--port {port} is no port; they go from 0 to 65535")
    try:
        from dreamprvr.serve.server import serve
    except ImportError as error:
        raise UserError(f"the page needs {error.name}: pip install 'dreamprvr[search]'") from None
    if token is not None and no_token:
        raise UserError("--token and --no_token contradict each other: give one of them")
    if token is not None and not re.fullmatch(r"[\w.~-]{8,}", token, re.ASCII):
        raise UserError("--token needs at least 8 characters, of letters, digits and -._~")
    word = "" if no_token else token
    try:
        serve(library_in(library), host, port, allowed_host or [], cache, device, open, word)
    except KeyboardInterrupt:  # the way to end it
        print()
    return 0
