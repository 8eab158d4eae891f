"""A process that indexes video by video and prints acknowledged videos; tests kill it.

python -m search.crashing LIBRARY FEATURES TABLES

With HELD in the environment it waits for a line of its input after the first batch.
"""

import itertools
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import search.libraries  # noqa: F401 - registers the encoder

from dreamprvr.search import indexing
from dreamprvr.search.engine.edge import EdgeEngine
from dreamprvr.search.engine.interface import Record
from dreamprvr.search.library import Library


def main() -> None:
    """Index with batches of two videos."""
    indexing.BATCH_VIDEOS = 2
    write = EdgeEngine.upsert

    def upsert(engine: EdgeEngine, records: Sequence[Record]) -> None:
        write(engine, records)
        print(*(record.video_id for record in records), flush=True)
        if os.environ.pop("HELD", None):
            sys.stdin.readline()

    EdgeEngine.upsert = upsert  # type: ignore[method-assign]
    library, features, *tables = map(Path, sys.argv[1:])
    with Library.open(library, "cpu") as opened:
        print("open", flush=True)
        opened.update(features)
        print("done", flush=True)
        for table in itertools.cycle(tables):
            opened.set_metadata(table)


if __name__ == "__main__":
    main()
