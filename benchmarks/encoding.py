"""Compare how product and baseline encode a gallery on the CPU: seconds and peak memory.

    python -m benchmarks.encoding [--config tvr] [--videos N] [--batch N] [--rounds N]

Batches are as large as those of the data modules. The baseline keeps its tokens as they are, the
product divides them by their lengths first. Memory is measured in a fresh process for each, with
the gallery and without the features.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.baseline.network import Baseline
from benchmarks.inputs import FEATURES, pair, settings, videos
from benchmarks.measuring import (
    begin,
    comparison,
    in_fresh_process,
    interleave,
    parser,
    peak_growth,
    publish,
    use_threads,
)
from dreamprvr.core.batch import Videos
from dreamprvr.evaluation.gallery import Gallery
from dreamprvr.models.dreamprvr.network import DreamPRVR


def batches(features: Videos, number: int) -> Iterator[Videos]:
    """Repeat the same features up to a number of videos, with increasing rows."""
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
    """Encode a number of videos into clips and frames, as the baseline's evaluation does."""
    clips, frames = [], []
    for batch in batches(features, number):
        encoding = network.encode_videos(batch)
        clips.append(encoding.clips)
        frames.append(encoding.frames)
    return clips, frames


def prepare(config: str, number: int, batch: int) -> dict[str, Callable[[], Any]]:
    """Return both ways to encode, as functions without arguments."""
    chosen = settings(config)
    product, baseline = pair(chosen)
    features = videos(chosen, min(batch, number))
    return {
        "baseline": partial(encode_baseline, baseline.eval(), features, number),
        "product": partial(encode_product, product.eval(), features, number),
    }


def peak_memory(way: str, threads: int, config: str, number: int, batch: int) -> int:
    """Measure the growth of memory in bytes; call this in a fresh process."""
    use_threads(threads)
    return peak_growth(prepare(config, number, batch)[way]).peak_bytes


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    options = parser(__doc__, "encoding", rounds=5, videos=200, batch=100)
    options.add_argument("--config", choices=FEATURES, default="tvr", help="%(default)s by default")
    args = begin(options, arguments)
    sizes = (args.config, args.videos, min(args.batch, args.videos))
    peaks = {  # first, while this process is small
        way: in_fresh_process(peak_memory, way, torch.get_num_threads(), *sizes)
        for way in ("baseline", "product")
    }
    taken = interleave(prepare(*sizes), args.rounds)
    rows = [
        {
            "encode": way, **cells, "videos a second": args.videos / cells["seconds"],
            "peak MB": peaks[way] / 1e6,
        }
        for way, cells in comparison(taken).items()
    ]  # fmt: skip
    publish(args, rows, seconds=taken, peak_bytes=peaks)


if __name__ == "__main__":
    main()
