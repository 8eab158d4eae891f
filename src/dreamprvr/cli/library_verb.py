"""library: list, delete, compact, metadata."""

import sys
from pathlib import Path

from dreamprvr.cli.values import text
from dreamprvr.cli.verb_parser import VerbParser
from dreamprvr.core.errors import UserError
from dreamprvr.core.text import normal_id, one_line, shorten


def manage_library(arguments: list[str]) -> int:
    """Look after a library; 1 if a video that is to be deleted is not in it."""
    parser = _parser()
    options, rest = parser.split(arguments)
    if rest and options.action == "delete":
        raise UserError(
            f"{parser.prog}: unknown option {shorten(rest[0])} (before ids that begin with a dash "
            "stands --)"
        )
    parser.refuse(rest)
    needs = {"delete": "the ids of videos", "metadata": "a CSV"}
    if options.action in needs and not options.what:
        raise UserError(f"library {options.action} needs {needs[options.action]}")
    if options.action in ("list", "compact") and options.what:
        raise UserError(f"library {options.action} takes nothing but the folder")
    if options.action == "metadata" and len(options.what) > 1:
        raise UserError("library metadata takes one CSV")
    from dreamprvr.search.filters import check_columns, parse_where
    from dreamprvr.search.library import Library
    from dreamprvr.search.printed import video_line

    with Library.open(options.library, "cpu") as library:
        if options.action == "list":
            where = parse_where(options.where)
            check_columns(where, library.columns())
            found = library.videos(where)
            print(*map(video_line, found), f"{len(found):,} videos", sep="\n")
        elif options.action == "delete":
            gone = library.delete(options.what)
            print(f"{len(gone):,} of {len(set(options.what)):,} videos deleted")
            if gone:
                print("they come back with the next `lightning index` of a feature file that holds "
                      "them")  # fmt: skip
            there = set(map(normal_id, gone))
            absent = [name for name in dict.fromkeys(options.what) if normal_id(name) not in there]
            for name in absent:
                print(f"no video of the library: {shorten(one_line(name))}", file=sys.stderr)
            return 1 if absent else 0
        elif options.action == "metadata":
            report = library.set_metadata(options.what[0])
            lines = [f"warning: {one_line(line)}" for line in report.warnings]
            print(*lines, report.text(), sep="\n")
        else:
            library.compact()
            print("compacted")
    return 0


def _parser() -> VerbParser:
    parser = VerbParser("library", "List, delete, compact, or describe videos.", configured=False)
    add = parser.add_argument
    add("action", choices=("list", "delete", "compact", "metadata"))
    add("library", type=Path, help="Folder that `lightning index` wrote.")
    add("what", nargs="*", help="delete: ids of videos; metadata: a CSV.")
    add("--where", type=text, action="append", default=[], metavar="COLUMN=VALUE",
        help="list: only these.")  # fmt: skip
    return parser
