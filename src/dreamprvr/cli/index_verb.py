"""index: a feature file into a library."""

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamprvr.cli.values import STOPPED
from dreamprvr.cli.verb_parser import VerbParser
from dreamprvr.core.errors import UserError
from dreamprvr.core.text import one_line, shorten

SHOWN = 3  # files that are gone and are named

if TYPE_CHECKING:
    from dreamprvr.search.library import Library


def index_features(arguments: list[str]) -> int:
    """Make or update a library; run again, it touches only what changed."""
    options = _parser().only(arguments)
    from tqdm import tqdm

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        library = _library(options)
    for warning in caught:
        print(f"warning: {warning.message}")
    with library, tqdm(desc="videos", unit="video", disable=None) as bar:

        def progress(done: int, total: int, video: str) -> None:
            bar.total = total
            bar.set_postfix_str(video[-30:], refresh=False)
            bar.update(done - bar.n)

        try:
            report = library.update(options.features, options.metadata, progress, options.prune)
        except KeyboardInterrupt:
            print(STOPPED)
            raise
        lacking = 0 if options.prune else _lacking(library, options.features)
        gone = _gone(library)
    for line in report.warnings:
        print(f"warning: {one_line(line)}")
    if lacking:
        print(f"{lacking:,} videos of {options.output} are not in {options.features} and stay; "
              "--prune removes them")  # fmt: skip
    if gone:
        print(gone)
    print(f"{report.text()}; the library is in {options.output}")
    return 0


def _lacking(library: "Library", features: Path) -> int:
    """How many videos of the library a feature file does not hold."""
    from dreamprvr.extraction.feature_file import FeatureFile

    with FeatureFile(features) as file:
        there = set(file.video_ids())
    return sum(video.video_id not in there for video in library.videos())


def _gone(library: "Library") -> str:
    """One line on the videos whose files are not where they were extracted, or ""."""
    paths = [video.path for video in library.videos() if video.path is not None]
    gone = [one_line(shorten(str(path), 200)) for path in paths if not os.path.lexists(path)]
    if not gone:
        return ""
    more = ", ..." if len(gone) > SHOWN else ""
    return (
        f"{len(gone):,} of {len(paths):,} video files are gone, so they are found but not shown: "
        f"{', '.join(gone[:SHOWN])}{more}"
    )


def _library(options: Any) -> "Library":
    from dreamprvr.search.library import Library
    from dreamprvr.search.manifest import NAME
    from dreamprvr.search.model_file import read_model

    if not (options.output / NAME).is_file():
        return Library.create(
            options.output, options.features, options.ckpt_path, options.engine, options.device,
            options.trust_features,
        )  # fmt: skip
    library = Library.open(options.output, options.device)
    try:
        if options.ckpt_path and read_model(options.ckpt_path).digest != (
            library.manifest.checkpoint
        ):
            raise UserError(
                f"library {options.output} was indexed with another model than "
                f"{options.ckpt_path}: index into a new folder"
            )
        if options.engine not in ("edge", library.manifest.engine):
            raise UserError(
                f"library {options.output} lies in the engine {library.manifest.engine}: leave "
                "out --engine, or index into a new folder"
            )
    except BaseException:
        library.close()
        raise
    return library


def _parser() -> VerbParser:
    parser = VerbParser(
        "index", "Features to a library; run again, it touches only what changed.",
        configured=False,
    )  # fmt: skip
    add = parser.add_argument
    add("features", type=Path, help="Feature file that `lightning extract` wrote.")
    add("-o", "--output", type=Path, required=True, metavar="LIBRARY", help="Folder.")
    add("--ckpt_path", type=Path, help="Trained model; without it, search is untrained.")
    add(
        "--metadata",
        type=Path,
        metavar="CSV",
        help="A column video_id or path, and any others; `tags` holds values between ';'.",
    )
    add("--engine", default="edge", help="edge (in this process), or a Qdrant server's URL [edge].")
    add("--device", default="auto", help="cpu, cuda, cuda:1, mps, or auto [auto].")
    add("--trust_features", action="store_true",
        help="Accept a checkpoint that does not say which features it was trained on.")  # fmt: skip
    add("--prune", action="store_true", help="Remove videos that the feature file lacks.")
    return parser
