"""Measure how a training step grows with its videos, and an evaluation with queries x videos.

    python -m benchmarks.growth [--videos 8 16 32 64] [--pairs 200x1000 ...] [--rounds N]

The product runs alone on the CPU, and the sizes take turns in every round. A line through
(log size, log seconds) gives the exponent; 1 is linear growth. A drawing of both stands beside the
JSON file, as growth.png.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.inputs import FEATURES, Settings, pair, settings, train_batch
from benchmarks.measuring import begin, interleave, parser, positive, publish
from benchmarks.ranking import embedded, gallery, rank_product
from benchmarks.training_step import product_step

PAIRS = ("250x500", "500x500", "500x1000", "1000x1000", "1000x2000", "2000x2000", "2000x4000")


class PowerLaw(NamedTuple):
    """The law seconds = factor * size ** exponent."""

    exponent: float
    factor: float
    r_squared: float  # of the logarithms; 1 if the law is exact


def fit(seconds: Mapping[int, float]) -> PowerLaw:
    """Fit a line through (log size, log seconds) by least squares.

    Args:
        seconds: seconds by size.

    Raises:
        ValueError: there are fewer than two sizes.
    """
    if len(seconds) < 2:
        raise ValueError(f"an exponent needs two sizes at least, not {list(seconds)}")
    x, y = [math.log(size) for size in seconds], [math.log(taken) for taken in seconds.values()]
    exponent, offset = statistics.linear_regression(x, y)
    middle = statistics.fmean(y)
    spread = sum((b - middle) ** 2 for b in y)
    error = sum((b - offset - exponent * a) ** 2 for a, b in zip(x, y, strict=True))
    return PowerLaw(exponent, math.exp(offset), 1 - error / spread if spread else 1.0)


def shape(text: str) -> tuple[int, int]:
    """Read `QUERIESxVIDEOS` as two numbers.

    Raises:
        argparse.ArgumentTypeError: the text has another form.
    """
    queries, _, videos = text.partition("x")
    return positive(queries), positive(videos)


def step_seconds(chosen: Settings, sizes: Sequence[int], rounds: int) -> dict[int, list[float]]:
    """Measure a training step in each round, by the number of videos, with 5 captions each."""
    step = product_step(pair(chosen)[0], chosen)
    batches = {videos: train_batch(chosen, videos, captions=5) for videos in sizes}
    return interleave({videos: partial(step, batch) for videos, batch in batches.items()}, rounds)


def evaluation_seconds(shapes: Sequence[tuple[int, int]], rounds: int) -> dict[int, list[float]]:
    """Measure scoring and ranking in each round, by the number of queries x videos.

    Args:
        shapes: numbers of queries and videos; each product occurs once.
        rounds: number of rounds.
    """
    galleries = {videos: gallery(videos) for _, videos in shapes}
    ways = {
        queries * videos: partial(rank_product, galleries[videos], embedded(queries, videos))
        for queries, videos in shapes
    }
    return interleave(ways, rounds)


def draw(path: Path, curves: Mapping[str, tuple[Mapping[int, float], PowerLaw]]) -> None:
    """Draw the measured points and the fitted lines on logarithmic axes."""
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import LogLocator
    except ImportError:
        print("no plot: it needs matplotlib, which the development requirements hold")
        return
    figure = Figure(figsize=(5 * len(curves), 4), layout="constrained")
    for place, (label, (seconds, law)) in enumerate(curves.items(), start=1):
        axes = figure.add_subplot(1, len(curves), place)
        axes.loglog(list(seconds), list(seconds.values()), "o", label="measured")
        line = [law.factor * size**law.exponent for size in seconds]
        axes.loglog(list(seconds), line, "-", label=f"exponent {law.exponent:.2f}")
        axes.set(xlabel=label, ylabel="seconds")
        axes.legend()
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter("{x:g}")
            axis.set_minor_locator(LogLocator(subs=range(1, 10)))
            axis.set_minor_formatter("")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write, draw."""
    options = parser(__doc__, "growth", rounds=5)
    options.add_argument("--config", choices=FEATURES, default="tvr", help="%(default)s by default")
    options.add_argument("--videos", type=positive, nargs="+", default=[8, 16, 32, 64])
    options.add_argument("--pairs", type=shape, nargs="+", default=[shape(text) for text in PAIRS])
    args = begin(options, arguments)
    torch.manual_seed(0)
    taken = {
        "videos of a training step": step_seconds(settings(args.config), args.videos, args.rounds),
        "queries x videos of an evaluation": evaluation_seconds(args.pairs, args.rounds),
    }
    curves = {}
    for name, rounds in taken.items():
        medians = {size: statistics.median(rounds[size]) for size in sorted(rounds)}
        curves[name] = medians, fit(medians)
    rows = [
        {
            "seconds against": name, "exponent": law.exponent, "R^2": law.r_squared,
            "smallest": min(medians), "largest": max(medians),
            "s at largest": medians[max(medians)],
        }
        for name, (medians, law) in curves.items()
    ]  # fmt: skip
    publish(args, rows, rounds=taken)
    draw(args.output.with_suffix(".png"), curves)


if __name__ == "__main__":
    main()
