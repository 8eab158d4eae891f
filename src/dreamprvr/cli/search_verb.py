"""search: one query on a library."""

from pathlib import Path
from typing import TYPE_CHECKING

from dreamprvr.cli.values import count, text
from dreamprvr.cli.verb_parser import VerbParser

if TYPE_CHECKING:
    from dreamprvr.search.searching import Candidates


def search_library(arguments: list[str]) -> int:
    """Print the best videos and moments."""
    options = _parser().only(arguments)
    from dreamprvr.search.filters import parse_where
    from dreamprvr.search.library import Library
    from dreamprvr.search.printed import as_json, as_text

    with Library.open(options.library, options.device) as library:
        result = library.search(
            options.query, options.k, parse_where(options.where), options.moments,
            options.threshold, options.candidates,
        )  # fmt: skip
    print(as_json(result) if options.json else as_text(result))
    return 0


def _parser() -> VerbParser:
    parser = VerbParser("search", "Find the videos and moments of a sentence.", configured=False)
    add = parser.add_argument
    add("library", type=Path, help="Folder that `lightning index` wrote.")
    add("query", type=text, help="A sentence that says what happens.")
    add("-k", type=count(), default=10, help="Videos, at most [10].")
    add("--where", type=text, action="append", default=[], metavar="COLUMN=VALUE",
        help="Only videos with this metadata; another column must hold too, the same column "
        "again allows another value.")  # fmt: skip
    add("--moments", type=count(), default=3, help="Moments of a video, at most [3].")
    add("--threshold", type=float, help="Smallest score of a video.")
    add("--candidates", type=_count_or_all, metavar="N|all",
        help="Videos that are scored exactly, found by an index; `all` asks no index "
        "[all, or 800 of more than 2000].")  # fmt: skip
    add("--json", action="store_true", help="Print JSON.")
    add("--device", default="auto", help="cpu, cuda, cuda:1, mps, or auto [auto].")
    return parser


def _count_or_all(value: str) -> "Candidates":
    return "all" if value == "all" else count()(value)
