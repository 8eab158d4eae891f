"""Seconds and peak memory of encoding a gallery on the CPU, product and baseline.

    python -m benchmarks.encoding [--config tvr] [--videos N] [--batch N] [--rounds N]

In batches as large as the data modules' own. The baseline keeps the tokens that it encodes, the
product normalises them and keeps those. Memory is measured in a fresh process each, over the whole
encoding, the gallery included and the features left out.
"""

import argparse
import statistics
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.baseline.network import Baseline
from benchmarks.inputs import FEATURES, pair, settings, videos
from benchmarks.measuring import (
    in_fresh_process,
    interleave,
    machine,
    parser,
    peak_growth,
    positive,
    publish,
    ratio,
    use_threads,
)
from dreamprvr.core.batch import Videos
from dreamprvr.evaluation.gallery import Gallery
from dreamprvr.models.dreamprvr.network import DreamPRVR


def batches(features: Videos, number: int) -> Iterator[Videos]:
    """Yield the same features again and again, up to a number of videos; rows count up."""
    size = len(features.row)
    for start in range(0, number, size):
        count = min(size, number - start)
        yield Videos(torch.arange(start, start + count), *(part[:count] for part in features[1:]))


@torch.no_grad()
def encode_product(network: DreamPRVR, features: Videos, number: int) -> Gallery:
    """Encode a number of videos into a gallery."""
    gallery = Gallery(network)
    for batch in batches(features, number):
        gallery.add(batch)
    return gallery


@torch.no_grad()
def encode_baseline(
    network: Baseline, features: Videos, number: int
) -> tuple[list[Tensor], list[Tensor]]:
    """Encode clips and frames of a number of videos, as the baseline's evaluation keeps them."""
    clips, frames = [], []
    for batch in batches(features, number):
        encoding = network.encode_videos(batch)
        clips.append(encoding.clips)
        frames.append(encoding.frames)
    return clips, frames


def prepare(config: str, number: int, batch: int) -> dict[str, Callable[[], Any]]:
    """Prepare both ways, ready to be called."""
    chosen = settings(config)
    product, baseline = pair(chosen)
    features = videos(chosen, min(batch, number))
    return {
        "baseline": partial(encode_baseline, baseline.eval(), features, number),
        "product": partial(encode_product, product.eval(), features, number),
    }


def peak_memory(way: str, threads: int, config: str, number: int, batch: int) -> int:
    """Measure by how many bytes memory grows over the encoding; call this in a fresh process."""
    use_threads(threads)
    work = prepare(config, number, batch)[way]
    return peak_growth(work).peak_bytes


def measure(chosen: argparse.Namespace) -> dict[str, Any]:
    """Measure the seconds of every round, their ratio, and the peak memory of each way."""
    sizes = (chosen.config, chosen.videos, min(chosen.batch, chosen.videos))
    threads = torch.get_num_threads()
    peaks = {  # first, while this process is small
        way: in_fresh_process(peak_memory, way, threads, *sizes) for way in ("baseline", "product")
    }
    taken = interleave(prepare(*sizes), chosen.rounds)
    return {"seconds": taken, "ratio": ratio(**taken)._asdict(), "peak_bytes": peaks}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    options = parser(__doc__, "encoding", rounds=5)
    options.add_argument("--config", choices=FEATURES, default="tvr", help="%(default)s by default")
    options.add_argument("--videos", type=positive, default=200)
    options.add_argument("--batch", type=positive, default=100, help="videos encoded at once")
    chosen = options.parse_args(arguments)
    use_threads(chosen.threads)
    described = machine()
    found = measure(chosen)
    rows = [
        {
            "encode": way,
            "seconds": statistics.median(taken),
            "videos a second": chosen.videos / statistics.median(taken),
            "x baseline": found["ratio"]["median"] if way == "product" else 1.0,
            "smallest": found["ratio"]["low"] if way == "product" else None,
            "largest": found["ratio"]["high"] if way == "product" else None,
            "peak MB": found["peak_bytes"][way] / 1e6,
        }
        for way, taken in found["seconds"].items()
    ]
    sizes = {name: getattr(chosen, name) for name in ("config", "videos", "batch", "rounds")}
    publish(chosen.output, described, rows, sizes=sizes, **found)


if __name__ == "__main__":
    main()
