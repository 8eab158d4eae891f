"""Measure search in long videos without a model: files of rows, and the loss by candidates.

    python -m benchmarks.long_videos [--shapes VIDEOSxROWSxK ...] [--rounds N] [--threads N]

A row has 512 made-up numbers (`search_videos.py`). A whole search scores all videos and finds the
curves and moments of the k best ones. In each round it runs once with the library's files of rows,
and once without them, when the engine returns rows as Python lists. The second table has shares of
the exact 10 and 100 best of 3,000 videos of 600 rows that are among the candidates, which are the
videos with the nearest segments.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from einops import rearrange, reduce

from benchmarks.measuring import begin, comparison, interleave, parser, positive, publish, table
from benchmarks.search import InTurn, exact_lists
from benchmarks.search_videos import PART, Videos, payload, video_id
from benchmarks.search_ways import NumberedQueries, searcher
from dreamprvr.search.encoding import SearchModel, Untrained
from dreamprvr.search.engine.edge import EdgeEngine
from dreamprvr.search.engine.interface import Record
from dreamprvr.search.queries import Query
from dreamprvr.search.rows import RowStore
from dreamprvr.search.searching import Searcher

WRITTEN = 16  # number of videos that are written at once
QUERIES = 16  # number of queries, which take turns
SHAPES = ("400x600x10", "20x7200x10", "400x600x400")
CANDIDATES = (800, 1600)


class Shape(NamedTuple):
    """Number of videos, their length, and the number of results."""

    videos: int
    rows: int
    k: int


def shape(text: str) -> Shape:
    """Read three numbers such as `400x600x10`."""
    return Shape(*map(positive, text.split("x", 2)))


def records(videos: Videos, model: SearchModel) -> Iterator[Record]:
    """Yield all videos in the form of a library, with a row for each second."""
    for part in videos.parts():
        for number, vectors in enumerate(model.encode_videos(list(part.frames)), part.start):
            yield Record(video_id(number), *vectors, payload(number, videos.frames))


def searches(shaped: Shape, dim: int, folder: Path) -> dict[str, Callable[[int], object]]:
    """Return a whole search for a numbered query, in both ways."""
    videos = Videos(shaped.videos, dim, clips=1, frames=shaped.rows, events=shaped.rows // 20)
    model = NumberedQueries(videos.queries(QUERIES).vectors)
    engine, store = EdgeEngine.create(folder / "engine", model.layout), RowStore(folder, model)
    every = records(videos, model)
    while batch := list(islice(every, WRITTEN)):
        store.write(batch)
        engine.upsert(batch)
    engine.compact()

    def search(library: Searcher, number: int) -> object:
        return library.search(Query(str(number), shaped.k, candidates="all"))

    return {
        "lists": partial(search, searcher(engine, model)),
        "files": partial(search, searcher(engine, model, store)),
    }


def measure(shaped: Shape, dim: int, rounds: int) -> dict[str, Any]:
    """Return a row of the first table."""
    with tempfile.TemporaryDirectory() as folder:
        ways = searches(shaped, dim, Path(folder))
        taken = interleave({name: InTurn(way, QUERIES) for name, way in ways.items()}, rounds)
    cells = comparison(taken)
    return {
        **shaped._asdict(), **{f"{name} ms": 1000 * cells[name]["seconds"] for name in cells},
        "times as fast": cells["files"]["x lists"],
    }  # fmt: skip


def candidate_shares(videos: Videos, queries: int) -> list[dict[str, Any]]:
    """Return rows of the second table: shares of the exact best among the candidates."""
    vectors = videos.queries(queries).vectors
    exact, nearest = (np.empty((queries, videos.count), np.float32) for _ in range(2))
    for part in videos.parts():
        here = slice(part.start, part.start + PART)
        model = SearchModel(Untrained(videos.dim))
        segments = np.stack([vectors.segments for vectors in model.encode_videos([*part.frames])])
        for scores, tokens in ((exact, part.frames), (nearest, segments)):
            products = rearrange(tokens, "v m d -> (v m) d") @ vectors.T
            scores[:, here] = reduce(products, "(v m) q -> q v", "max", v=len(tokens))
    best = exact_lists(exact, 100)
    rows = []
    for count in CANDIDATES:
        candidates = exact_lists(nearest, count)
        row: dict[str, Any] = {"numbers a row": videos.dim, "candidates": count}
        for k in (10, 100):
            shares = [np.isin(*pair).mean() for pair in zip(best[:, :k], candidates, strict=True)]
            row[f"of the {k} best %"] = 100 * float(np.mean(shares))
        rows.append(row)
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    options = parser(__doc__, "long_videos", rounds=8, videos=3000, queries=300)
    options.add_argument("--shapes", type=shape, nargs="+", default=list(map(shape, SHAPES)))
    options.add_argument("--dims", type=positive, nargs="+", default=[64, 512],
                         help="numbers a row, in the second table")  # fmt: skip
    args = begin(options, arguments)
    searches = [measure(shaped, 512, args.rounds) for shaped in args.shapes]
    print(table(searches), flush=True)
    rows = []
    for dim in args.dims:
        videos = Videos(args.videos, dim, clips=1, frames=600, events=28)
        rows += candidate_shares(videos, args.queries)
    publish(args, rows, searches=searches)


if __name__ == "__main__":
    main()
