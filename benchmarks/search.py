"""Search by the engine, exact and by candidates, against scans of all tokens by torch and numpy.

    python -m benchmarks.search [--videos 5000] [--queries N] [--rounds N] [--threads N]
    python -m benchmarks.search --videos 50000 --dtype float16
    python -m benchmarks.search --videos 500 --engine memory     (or the address of a Qdrant server)

Videos have 32 clip and 128 frame tokens of size 384, the most there can be (`search_videos.py`).
In each round every way answers the same query in turn, for the 100 best videos; figures of time
are medians over rounds, ratios are within a round. Then each way answers queries without pause,
two at a time. A filter keeps one video of 20. The engine's folder is removed at the end.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import torch

from benchmarks.measuring import (
    in_fresh_process,
    interleave,
    machine,
    parser,
    positive,
    publish,
    ratio,
    seconds,
    table,
    use_threads,
)
from benchmarks.search_videos import SHELVES, Queries, Videos, shelf
from benchmarks.search_ways import (
    EDGE,
    Scan,
    ScanDtype,
    asked,
    create,
    disk_bytes,
    fill,
    library_search,
    opened,
    text_side,
)
from dreamprvr.search.engine.interface import Engine

LIMIT = 100
CLIENTS = 2  # queries at a time, where queries a second are counted
Answer = Callable[[int], Sequence[int]]
CUTS = (1, 5, 10, 100)  # of SumR


class Quality(NamedTuple):
    """Means over queries, in percent.

    Args:
        recall: share of the exact list that was found.
        sum_recall: SumR, the sum of the shares of queries whose true video is among the first
            1, 5, 10 and 100.
        kept: that, as a share of the exact list's.
    """

    recall: float
    sum_recall: float
    kept: float


def exact_lists(scores: np.ndarray, limit: int, allowed: np.ndarray | None = None) -> np.ndarray:
    """(Q, V) -> (Q, K): best videos, best first.

    Args:
        scores: of every video.
        limit: K, at most.
        allowed: (Q, V), which videos a query's filter leaves; as many for every query.
    """
    count = scores.shape[1]
    if allowed is not None:
        scores, count = np.where(allowed, scores, -np.inf), int(allowed.sum(axis=1).min())
    limit = min(limit, count)
    best = np.argpartition(-scores, limit - 1, axis=1)[:, :limit]
    order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
    return np.take_along_axis(best, order, axis=1)


def sum_recall(lists: Sequence[Sequence[int]] | np.ndarray, true: np.ndarray) -> float:
    """SumR in percent, 400 at most.

    Args:
        lists: videos of each query, best first.
        true: (Q,), the true video of each.
    """
    shares = [
        np.mean([video in list(found)[:cut] for found, video in zip(lists, true, strict=True)])
        for cut in CUTS
    ]
    return 100 * float(np.sum(shares))


def quality(lists: Sequence[Sequence[int]], exact: np.ndarray, true: np.ndarray) -> Quality:
    """Of what was found for the first queries of those that `exact` and `true` are of."""
    exact, true = exact[: len(lists)], true[: len(lists)]
    hits = [len(set(f) & set(e.tolist())) for f, e in zip(lists, exact, strict=True)]
    ours, best = sum_recall(lists, true), sum_recall(exact, true)
    recall = 100 * sum(hits) / exact.size
    return Quality(recall, ours, 100 * ours / best if best else 100.0)


class Way(NamedTuple):
    """A way to search: from the number of a query to positions of videos, best first."""

    answer: Answer
    filtered: bool = False
    exact: bool = True


def ways(scan: Scan, engine: Engine, queries: Queries, candidates: Sequence[int]) -> dict[str, Way]:
    """All ways by name; the first is what the others are compared with."""

    def find(count: int | None, filtered: bool, number: int) -> list[int]:
        where = shelf(int(queries.true[number])) if filtered else None
        hits = engine.search(asked(queries.vectors[number], LIMIT, count, where))
        return [int(hit.video_id[1:]) for hit in hits]

    def scan_shelf(number: int) -> Sequence[int]:
        allowed = np.arange(queries.true[number] % SHELVES, len(scan.tokens), SHELVES)
        return scan.torch(queries.vectors[number], LIMIT, allowed).tolist()

    made = {
        "torch": Way(lambda i: scan.torch(queries.vectors[i], LIMIT).tolist()),
        "numpy": Way(lambda i: scan.numpy(queries.vectors[i], LIMIT).tolist()),
        "engine, exact": Way(partial(find, None, False)),
        "whole search, all videos": Way(library_search(engine, queries, "all")),
        "whole search, default": Way(library_search(engine, queries, None), exact=False),
    }
    for count in candidates:
        made[f"engine, {count} candidates"] = Way(partial(find, count, False), exact=False)
    made["torch, filter"] = Way(scan_shelf, filtered=True)
    made["engine, exact, filter"] = Way(partial(find, None, True), filtered=True)
    some = candidates[-1]
    made[f"engine, {some} candidates, filter"] = Way(partial(find, some, True), True, exact=False)
    return made


class Timed:
    """Answers the queries one after the other, again from the first after the last."""

    def __init__(self, answer: Callable[[int], object], count: int) -> None:
        self.answer, self.count, self.turn = answer, count, 0

    def __call__(self) -> None:
        """Answer the next one."""
        self.answer(self.turn % self.count)
        self.turn += 1


def a_second(answer: Answer, count: int) -> tuple[float, list[Sequence[int]]]:
    """Queries a second without pause, and the answers to the first `count` queries."""
    found: list[Sequence[int]] = []
    with ThreadPoolExecutor(CLIENTS) as pool:
        taken = seconds(lambda: found.extend(pool.map(answer, range(count))))
    return count / taken, found


def truth(scan: Scan, queries: Queries) -> tuple[dict[bool, np.ndarray], float]:
    """Exact lists without (False) and with (True) the filter, and the seconds of the scores."""
    found: list[np.ndarray] = []
    taken = seconds(lambda: found.append(scan.batch(queries.vectors)))
    of = np.arange(len(scan.tokens)) % SHELVES == queries.true[:, None] % SHELVES
    lists = {False: exact_lists(found[0], LIMIT), True: exact_lists(found[0], LIMIT, of)}
    return lists, taken


def compare(
    made: Mapping[str, Way], queries: Queries, exact: Mapping[bool, np.ndarray], rounds: int
) -> list[dict[str, Any]]:
    """A row of the table for each way."""
    count = len(queries.true)
    taken = interleave({name: Timed(way.answer, count) for name, way in made.items()}, rounds, 2)
    first = next(iter(made))
    lines = []
    for name, way in made.items():
        # what is exact is slow, and a few queries tell that it is
        rate, found = a_second(way.answer, min(rounds, count) if way.exact else count)
        good = quality(found, exact[way.filtered][:, : len(found[0])], queries.true)
        lines.append({
            "search": name, "ms": 1000 * statistics.median(taken[name]),
            "x torch": str(ratio(taken[first], taken[name])),
            "queries a second": rate, "queries": len(found), "recall %": good.recall,
            "SumR": good.sum_recall, "SumR kept %": good.kept, "seconds": taken[name],
        })  # fmt: skip
    return lines


def costs(chosen: argparse.Namespace, folder: Path, queries: Queries) -> dict[str, Any]:
    """Disk, and the memory of a fresh process that opens the folder."""
    found = in_fresh_process(opened, folder, queries.vectors, LIMIT, chosen.candidates[-1])
    size = disk_bytes(folder)
    return {"disk_bytes": size, "bytes_a_video": size / chosen.videos, **found._asdict()}


def cost_row(build: Mapping[str, float], found: Mapping[str, Any]) -> dict[str, Any]:
    """The second table."""
    stages = found["stages"]
    row: dict[str, Any] = {
        "write s": build["write"], "compact s": build["compact"],
        "disk MB": found["disk_bytes"] / 1e6, "kB a video": found["bytes_a_video"] / 1e3,
        "open s": found["open_seconds"], "first query ms": 1000 * found["first_seconds"],
    }  # fmt: skip
    for stage in ("candidates", "exact"):
        for kind, held in stages[stage].items():
            row[f"{stage}: {kind} MB"] = (held - stages["before"][kind]) / 1e6
    return row


def measure(chosen: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All figures; the engine's files lie in `folder`."""
    videos = Videos(chosen.videos)
    scan = Scan(videos, chosen.dtype)
    engine = create(chosen.engine, folder, videos.dim)
    build = fill(engine, videos, scan)._asdict()
    queries = videos.queries(chosen.queries)
    exact, batch = truth(scan, queries)
    made = ways(scan, engine, queries, chosen.candidates)
    lines = compare(made, queries, exact, chosen.rounds)
    engine.close()
    text = interleave({"text": text_side()}, 20, 2)["text"]
    found = {"build": build, "ways": lines, "batch queries a second": len(queries.true) / batch,
             "scan_bytes": scan.bytes,
             "text_seconds": statistics.median(text)}  # fmt: skip
    if chosen.engine == EDGE:
        found["costs"] = costs(chosen, folder, queries)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    options = parser(__doc__, "search", rounds=30)
    options.add_argument("--videos", type=positive, default=5000)
    options.add_argument("--queries", type=positive, default=400, help="for quality")
    options.add_argument("--candidates", type=positive, nargs="+", default=[200, 400, 800, 1600])
    options.add_argument("--dtype", choices=get_args(ScanDtype), default="float32",
                         help="of the tokens that torch and numpy scan")  # fmt: skip
    options.add_argument("--engine", default=EDGE, help="edge, memory, or a server's address")
    options.add_argument("--folder", type=Path, help="for the engine's files; a temporary one")
    chosen = options.parse_args(arguments)
    use_threads(chosen.threads)
    described = machine()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        found = measure(chosen, Path(folder) / "engine")
    if chosen.output == options.get_default("output") and chosen.videos != 5000:
        chosen.output = chosen.output.with_name(f"search_{chosen.videos}_{chosen.engine}.json")
    lines = [{k: v for k, v in row.items() if k != "seconds"} for row in found["ways"]]
    if "costs" in found:
        print(f"\n{table([cost_row(found['build'], found['costs'])])}")
    print(f"\na sentence through CLIP's text side: {1000 * found['text_seconds']:.1f} ms")
    names = ("videos", "queries", "candidates", "dtype", "engine", "rounds")
    sizes = {name: getattr(chosen, name) for name in names}
    publish(chosen.output, described, lines, sizes=sizes, threads=torch.get_num_threads(), **found)


if __name__ == "__main__":
    main()
