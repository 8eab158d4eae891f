"""Seconds of a whole training step on the CPU, product and baseline, at published sizes.

    python -m benchmarks.training_step [--configs tvr charades] [--videos N] [--rounds N]

Forward pass, loss with hard negatives, backward pass and optimiser, with the published dropout.
Both start from the same weights, see the same batch and take turns.
"""

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.inputs import FEATURES, Settings, pair, settings, train_batch
from benchmarks.report import machine, parser, positive, publish, use_threads
from benchmarks.steps import baseline_step, product_step
from benchmarks.timing import interleave, ratio

MATRIX_PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm")


def matrix_share(work: Callable[[], object]) -> float:
    """Share of a call's CPU time that is spent in matrix products, from 0 to 1."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        work()
    events = profiler.key_averages()
    total = sum(event.self_cpu_time_total for event in events)
    products = sum(e.self_cpu_time_total for e in events if e.key in MATRIX_PRODUCTS)
    return float(products / total)


def measure(chosen: Settings, videos: int, captions: int, rounds: int) -> dict[str, Any]:
    """Seconds of every round, their ratio, and the shares of matrix products."""
    product, baseline = pair(chosen)
    batch = train_batch(chosen, videos, captions)
    steps = {"baseline": baseline_step(baseline, chosen), "product": product_step(product, chosen)}
    ways = {name: lambda step=step: step(batch) for name, step in steps.items()}
    taken = interleave(ways, rounds)
    shares = {name: matrix_share(work) for name, work in ways.items()}
    return {"seconds": taken, "ratio": ratio(**taken)._asdict(), "matrix_products": shares}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    options = parser(__doc__, "training_step", rounds=7)
    options.add_argument("--configs", nargs="+", choices=FEATURES, default=["tvr", "charades"])
    options.add_argument("--videos", type=positive, default=32)
    options.add_argument("--captions", type=positive, default=5, help="of each video")
    chosen = options.parse_args(arguments)
    use_threads(chosen.threads)
    described, rows, details = machine(), [], {}
    for name in chosen.configs:
        torch.manual_seed(0)
        found = measure(settings(name), chosen.videos, chosen.captions, chosen.rounds)
        shares, times = found["matrix_products"], found["ratio"]
        rows.append(
            {
                "sizes of": name,
                "baseline s": statistics.median(found["seconds"]["baseline"]),
                "product s": statistics.median(found["seconds"]["product"]),
                "x baseline": times["median"],
                "smallest": times["low"],
                "largest": times["high"],
                "products, baseline %": 100 * shares["baseline"],
                "products, product %": 100 * shares["product"],
            }
        )
        details[name] = found
    sizes = {"videos": chosen.videos, "captions": chosen.captions, "rounds": chosen.rounds}
    publish(chosen.output, described, rows, sizes=sizes, details=details)


if __name__ == "__main__":
    main()
