"""Searching long videos, untrained: with files of rows and without, and what candidates lose.

    python -m benchmarks.long_videos [--shapes VIDEOSxROWSxK ...] [--rounds N] [--threads N]

A row is 512 numbers, made up as in `search_videos.py`. A whole search scores all videos and gives
the k best their curves and moments; in each round it runs with the library's files of rows, and
without them, by the engine's lists of numbers. Then, by numpy: of the exact 10 and 100 best of
3,000 videos of 600 rows, how many the candidates hold that the nearest segments give.
"""

import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from einops import rearrange, reduce

from benchmarks.measuring import (
    interleave,
    machine,
    parser,
    positive,
    publish,
    ratio,
    table,
    use_threads,
)
from benchmarks.search import Timed, exact_lists
from benchmarks.search_videos import PART, Videos, payload, video_id
from benchmarks.search_ways import NumberedQueries, searcher
from dreamprvr.search.encoding import SearchModel, Untrained
from dreamprvr.search.engine.edge import EdgeEngine
from dreamprvr.search.engine.interface import Record
from dreamprvr.search.rows import RowStore
from dreamprvr.search.searching import Searcher

WRITTEN = 16  # videos at once
QUERIES = 16  # asked in turn
SHAPES = ("400x600x10", "20x7200x10", "400x600x400")
CANDIDATES = (800, 1600)


class Shape(NamedTuple):
    """Number of videos, their length, and the number of results."""

    videos: int
    rows: int
    k: int


def shape(text: str) -> Shape:
    """`400x600x10`."""
    return Shape(*map(positive, text.split("x", 2)))


def records(videos: Videos, model: SearchModel) -> Iterator[Record]:
    """All videos as a library has them, a row a second."""
    for part in videos.parts():
        for i, found in enumerate(model.encode_videos(list(part.frames))):
            number = part.start + i
            yield Record(video_id(number), *found, payload(number, videos.frames))


def searches(shaped: Shape, dim: int, folder: Path) -> dict[str, Callable[[int], object]]:
    """A whole search for a numbered query, in both ways."""
    videos = Videos(shaped.videos, dim, clips=1, frames=shaped.rows, events=shaped.rows // 20)
    model = NumberedQueries(videos.queries(QUERIES).vectors)
    engine, store = EdgeEngine.create(folder / "engine", model.layout), RowStore(folder, model)
    batch: list[Record] = []
    for record in records(videos, model):
        batch.append(record)
        if len(batch) == WRITTEN:
            store.write(batch)
            engine.upsert(batch)
            batch = []
    store.write(batch)
    engine.upsert(batch)
    engine.compact()

    def ask(searcher: Searcher, number: int) -> object:
        return searcher.search(str(number), shaped.k, {}, 3, None, "all")

    return {
        "lists": partial(ask, searcher(engine, model)),
        "files": partial(ask, searcher(engine, model, store)),
    }


def measure(shaped: Shape, dim: int, rounds: int) -> dict[str, Any]:
    """A row of the first table."""
    with tempfile.TemporaryDirectory() as folder:
        asking = searches(shaped, dim, Path(folder))
        taken = interleave({name: Timed(ask, QUERIES) for name, ask in asking.items()}, rounds)
    return {
        "videos": shaped.videos, "rows": shaped.rows, "k": shaped.k,
        **{f"{name} ms": 1000 * statistics.median(found) for name, found in taken.items()},
        "times as fast": str(ratio(taken["lists"], taken["files"])),
    }  # fmt: skip


def held(videos: Videos, queries: int) -> list[dict[str, Any]]:
    """Rows of the second table: shares of the exact best among the candidates."""
    vectors = videos.queries(queries).vectors
    exact, nearest = (np.empty((queries, videos.count), np.float32) for _ in range(2))
    for part in videos.parts():
        here = slice(part.start, part.start + PART)
        model = SearchModel(Untrained(videos.dim))
        segments = np.stack([found.segments for found in model.encode_videos(list(part.frames))])
        for scores, tokens in ((exact, part.frames), (nearest, segments)):
            products = rearrange(tokens, "v m d -> (v m) d") @ vectors.T
            scores[:, here] = reduce(products, "(v m) q -> q v", "max", v=len(tokens))
    best = exact_lists(exact, 100)
    lines = []
    for count in CANDIDATES:
        found = exact_lists(nearest, count)
        line: dict[str, Any] = {"numbers a row": videos.dim, "candidates": count}
        for k in (10, 100):
            shares = [np.isin(*lists).mean() for lists in zip(best[:, :k], found, strict=True)]
            line[f"of the {k} best %"] = 100 * float(np.mean(shares))
        lines.append(line)
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    options = parser(__doc__, "long_videos", rounds=8)
    options.add_argument("--shapes", type=shape, nargs="+", default=list(map(shape, SHAPES)))
    options.add_argument("--dims", type=positive, nargs="+", default=[64, 512], help="candidates")
    options.add_argument("--videos", type=positive, default=3000, help="candidates")
    options.add_argument("--queries", type=positive, default=300, help="candidates")
    asked = options.parse_args(arguments)
    use_threads(asked.threads)
    described = machine()
    timed = [measure(shaped, 512, asked.rounds) for shaped in asked.shapes]
    print(table(timed), flush=True)
    lines = [
        line
        for dim in asked.dims
        for line in held(Videos(asked.videos, dim, clips=1, frames=600, events=28), asked.queries)
    ]
    publish(asked.output, described, lines, searches=timed)


if __name__ == "__main__":
    main()
