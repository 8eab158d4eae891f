"""Compare search by the engine, exact and by candidates, with scans of all tokens.

    python -m benchmarks.search [--videos 5000] [--queries N] [--rounds N] [--threads N]
    python -m benchmarks.search --videos 50000 --dtype float16
    python -m benchmarks.search --videos 500 --engine memory     (or the address of a Qdrant server)
    python -m benchmarks.search --model ral      a row for each word, by engine and candidates
    python -m benchmarks.search --model ms_sl    a model that scores the first candidates again

Videos have 32 clip and 128 frame tokens of size 384, the largest numbers there are
(`search_videos.py`). In each round every way answers the same query in turn and returns the 100
best videos. Times are medians over rounds, ratios are within a round. Then each way answers queries
without pause, two at a time. A filter keeps one video of 20. The engine's files are removed at the
end.
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

from benchmarks.measuring import (
    begin,
    comparison,
    in_fresh_process,
    interleave,
    parser,
    positive,
    publish,
    seconds,
    table,
)
from benchmarks.search_videos import SHELVES, Queries, Videos, Words, shelf, words
from benchmarks.search_ways import (
    EDGE,
    SHOWN,
    Scan,
    ScanDtype,
    create,
    engine_query,
    fill,
    library_search,
    open_and_search,
    rescored_scores,
    text_side,
)
from dreamprvr.search.engine.disk import used
from dreamprvr.search.engine.interface import Engine

LIMIT = 100
RESCORED = (25, 50, 100)  # numbers of candidates that a model scores again
CLIENTS = 2  # queries at the same time, where queries a second are counted
Answer = Callable[[int], Sequence[int]]
CUTS = (1, 5, 10, 100)  # the K of SumR


class Quality(NamedTuple):
    """Means over queries, in percent.

    Attributes:
        recall: share of the exact list that was found.
        sum_recall: SumR, the sum of the shares of queries whose true video is among the first
            1, 5, 10 and 100.
        kept: SumR as a share of the exact list's SumR.
    """

    recall: float
    sum_recall: float
    kept: float


def exact_lists(scores: np.ndarray, limit: int, allowed: np.ndarray | None = None) -> np.ndarray:
    """Return the best videos of each query, best first, as (Q, K).

    Args:
        scores: score of each query and video, (Q, V).
        limit: largest K.
        allowed: (Q, V), true for the videos that pass a query's filter; the same number for every
            query.
    """
    count = scores.shape[1]
    if allowed is not None:
        scores, count = np.where(allowed, scores, -np.inf), int(allowed.sum(axis=1).min())
    limit = min(limit, count)
    best = np.argpartition(-scores, limit - 1, axis=1)[:, :limit]
    order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
    return np.take_along_axis(best, order, axis=1)


def sum_recall(lists: Sequence[Sequence[int]] | np.ndarray, true: np.ndarray) -> float:
    """Return SumR in percent, 400 at most.

    Args:
        lists: videos of each query, best first.
        true: true video of each query, (Q,).
    """
    return 100 * sum(
        float(np.mean([video in list(best)[:cut] for best, video in zip(lists, true, strict=True)]))
        for cut in CUTS
    )


def quality(lists: Sequence[Sequence[int]], exact: np.ndarray, true: np.ndarray) -> Quality:
    """Compare the lists of the first queries with the exact lists of all."""
    exact, true = exact[: len(lists)], true[: len(lists)]
    common = [len(set(a) & set(b.tolist())) for a, b in zip(lists, exact, strict=True)]
    own, best = sum_recall(lists, true), sum_recall(exact, true)
    return Quality(100 * sum(common) / exact.size, own, 100 * own / best if best else 100.0)


class Way(NamedTuple):
    """A way to search: from the number of a query to positions of videos, best first."""

    answer: Answer
    filtered: bool = False
    exact: bool = True


def ways(scan: Scan, engine: Engine, queries: Queries, candidates: Sequence[int]) -> dict[str, Way]:
    """Return all ways by name; the others are compared with the first."""

    def by_engine(count: int | None, filtered: bool, number: int) -> list[int]:
        where = shelf(int(queries.true[number])) if filtered else None
        hits = engine.search(engine_query(queries.vectors[number], LIMIT, count, where))
        return [int(hit.video_id[1:]) for hit in hits]

    def scan_shelf(number: int) -> Sequence[int]:
        allowed = np.arange(queries.true[number] % SHELVES, len(scan.tokens), SHELVES)
        return scan.torch(queries.vectors[number], LIMIT, allowed).tolist()

    some = candidates[-1]
    return {
        "torch": Way(lambda i: scan.torch(queries.vectors[i], LIMIT).tolist()),
        "numpy": Way(lambda i: scan.numpy(queries.vectors[i], LIMIT).tolist()),
        "engine, exact": Way(partial(by_engine, None, False)),
        "whole search, all videos": Way(library_search(engine, queries, "all")),
        "whole search, default": Way(library_search(engine, queries, None), exact=False),
        **{
            f"engine, {count} candidates": Way(partial(by_engine, count, False), exact=False)
            for count in candidates
        },
        "torch, filter": Way(scan_shelf, filtered=True),
        "engine, exact, filter": Way(partial(by_engine, None, True), filtered=True),
        f"engine, {some} candidates, filter": Way(
            partial(by_engine, some, True), True, exact=False
        ),
    }


class InTurn:
    """A function that answers the next query at each call, and the first again after the last."""

    def __init__(self, answer: Callable[[int], object], count: int) -> None:
        self.answer, self.count, self.turn = answer, count, 0

    def __call__(self) -> None:
        self.answer(self.turn % self.count)
        self.turn += 1


def a_second(answer: Answer, count: int) -> tuple[float, list[Sequence[int]]]:
    """Return the queries a second without pause, and the answers to the first `count` queries."""
    answers: list[Sequence[int]] = []
    with ThreadPoolExecutor(CLIENTS) as pool:
        taken = seconds(lambda: answers.extend(pool.map(answer, range(count))))
    return count / taken, answers


def truth(scan: Scan, queries: Queries) -> tuple[dict[bool, np.ndarray], float]:
    """Return the exact lists without (False) and with (True) the filter, and the seconds."""
    batches: list[np.ndarray] = []
    taken = seconds(lambda: batches.append(scan.batch(queries.vectors)))
    allowed = np.arange(len(scan.tokens)) % SHELVES == queries.true[:, None] % SHELVES
    (scores,) = batches
    return {False: exact_lists(scores, LIMIT), True: exact_lists(scores, LIMIT, allowed)}, taken


def compare(
    by_name: Mapping[str, Way], queries: Queries, exact: Mapping[bool, np.ndarray], rounds: int
) -> tuple[list[dict[str, Any]], dict[str, list[float]]]:
    """Return a row of the table for each way, and the seconds of each round."""
    count = len(queries.true)
    taken = interleave({k: InTurn(way.answer, count) for k, way in by_name.items()}, rounds, 2)
    rows = []
    for name, cells in comparison(taken).items():
        way = by_name[name]
        # an exact way is slow, and a few queries show that it is exact
        rate, answers = a_second(way.answer, min(rounds, count) if way.exact else count)
        lists = exact[way.filtered][:, : len(answers[0])]
        recall, total, kept = quality(answers, lists, queries.true)
        rows.append({
            "search": name, "ms": 1000 * cells["seconds"], "x torch": cells["x torch"],
            "queries a second": rate, "queries": len(answers), "recall %": recall,
            "SumR": total, "SumR kept %": kept,
        })  # fmt: skip
    return rows, taken


def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measure everything; the engine's files lie in `folder`."""
    videos = Videos(args.videos)
    scan = Scan(videos, args.dtype)
    engine = create(args.engine, folder, videos.dim)
    costs: dict[str, Any] = fill(engine, videos, scan)
    queries = videos.queries(args.queries)
    exact, batch = truth(scan, queries)
    rows, taken = compare(ways(scan, engine, queries, args.candidates), queries, exact, args.rounds)
    engine.close()
    if args.engine == EDGE:
        size = used(folder)
        costs |= {"disk MB": size / 1e6, "kB a video": size / 1e3 / args.videos}
        costs |= in_fresh_process(
            open_and_search, folder, queries.vectors, LIMIT, args.candidates[-1]
        )
    text = interleave({"text": InTurn(text_side(), 1)}, 20, 2)["text"]
    return {
        "rows": rows, "seconds": taken, "costs": costs, "scan_bytes": scan.bytes,
        "batch queries a second": len(queries.true) / batch,
        "text_seconds": statistics.median(text),
    }  # fmt: skip


def measure_words(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measure a model with a row for each word; the engine's files lie in `folder`."""
    videos = Videos(args.videos)
    scan = Scan(videos, args.dtype)
    engine = create(args.engine, folder, videos.dim)
    fill(engine, videos, scan)
    queries = videos.queries(args.queries)
    asked = words(queries)
    exact = exact_lists(scan.by_words(queries.vectors, asked), LIMIT)

    def scanned(number: int) -> list[int]:
        some = Words(*(part[number : number + 1] for part in asked))
        scores = scan.by_words(queries.vectors[number : number + 1], some)
        found: list[int] = exact_lists(scores, LIMIT)[0].tolist()
        return found

    def by_engine(count: int | None, number: int) -> list[int]:
        weighted = asked.weights[number][:, None] * asked.vectors[number]
        query = engine_query(queries.vectors[number], LIMIT, count, words=weighted)
        return [int(hit.video_id[1:]) for hit in engine.search(query)]

    by_name = {
        "torch": Way(scanned),
        "engine, exact": Way(partial(by_engine, None)),
        **{f"engine, {n} candidates": Way(partial(by_engine, n), exact=False)
           for n in args.candidates},
    }  # fmt: skip
    rows, taken = compare(by_name, queries, {False: exact}, args.rounds)
    engine.close()
    return {"rows": rows, "seconds": taken}


def measure_rescored(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measure how many candidates MS-SL has to score again; no engine is asked."""
    videos = Videos(args.videos)
    queries = videos.queries(args.queries)
    sums, scores = rescored_scores(videos, queries)
    exact = exact_lists(scores, SHOWN)
    rows = []
    for count in [SHOWN, *RESCORED, *args.candidates]:
        first = exact_lists(sums, count)
        again = exact_lists(np.take_along_axis(scores, first, axis=1), SHOWN)
        lists = np.take_along_axis(first, again, axis=1)
        recall, total, kept = quality(lists.tolist(), exact, queries.true)
        rows.append({
            "scored again": count, f"recall@{SHOWN} %": recall, "SumR": total, "SumR kept %": kept,
        })  # fmt: skip
    return {"rows": rows}


ONE_ROW = "one_row"
MODELS = {ONE_ROW: measure, "ral": measure_words, "ms_sl": measure_rescored}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    options = parser(__doc__, "search", rounds=30, videos=5000, queries=400)
    options.add_argument("--candidates", type=positive, nargs="+", default=[200, 400, 800, 1600])
    options.add_argument("--dtype", choices=get_args(ScanDtype), default="float32",
                         help="type of the tokens that torch and numpy scan")  # fmt: skip
    options.add_argument("--engine", default=EDGE, help="edge, memory, or a server's address")
    options.add_argument("--folder", type=Path, help="for the engine's files; a temporary one")
    options.add_argument("--model", choices=sorted(MODELS), default=ONE_ROW,
                         help="one row for each scale (the default), ral or ms_sl")  # fmt: skip
    args = begin(options, arguments)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        figures = MODELS[args.model](args, Path(folder) / "engine")
    if args.output == options.get_default("output"):
        size = "" if args.videos == 5000 else f"_{args.videos}_{args.engine}"
        model = "" if args.model == ONE_ROW else f"_{args.model}"
        args.output = args.output.with_stem(f"search{size}{model}")
    if args.model == ONE_ROW:
        print(f"\n{table([figures['costs']])}")
        print(f"\na sentence through CLIP's text side: {1000 * figures['text_seconds']:.1f} ms")
    publish(args, figures.pop("rows"), **figures)


if __name__ == "__main__":
    main()
