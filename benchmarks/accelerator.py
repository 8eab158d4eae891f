"""A training step, an epoch and an evaluation at TVR's size on one CUDA GPU.

    python -m benchmarks.accelerator [--variants plain compile graphs fused] [--steps N]
    python -m benchmarks.accelerator --device cpu --config synthetic --videos 8 --batch 4 \
        --steps 2 --matmul 256 --evaluations 40x30 --variants plain

17,435 videos with 5 captions each, 128 a batch, bfloat16 mixed precision, hard negatives, random
features that lie on the GPU as float16 (about 14 GB) and are gathered there, as the data modules
do with `device_resident`. Variants are measured one after the other: uncompiled, `model.compile`,
that with CUDA graphs, and that with `model.fused_attention`. A variant that fails is told in its
row, its traceback is in the JSON, and the others go on.
"""

import argparse
import gc
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import torch

from benchmarks.accelerated import Training, matmul_ceiling, step_flops, synchronise
from benchmarks.growth import shape
from benchmarks.inputs import FEATURES, Settings, settings
from benchmarks.ranking import embedded, gallery, rank_product
from benchmarks.report import machine, parser, positive, publish, use_threads
from benchmarks.resident import ResidentSplit

VARIANTS: dict[str, dict[str, bool]] = {
    "plain": {},
    "compile": {"compiled": True},
    "graphs": {"compiled": True, "cuda_graphs": True},
    "fused": {"compiled": True, "fused": True},
}
# TVR's and ActivityNet's, queries x videos
EVALUATIONS = ("10895x2179", "15753x4430")


def measure_training(
    chosen: Settings, split: ResidentSplit, asked: argparse.Namespace, name: str
) -> dict[str, Any]:
    """Figures of one variant; memory is in bytes, None where the device cannot tell it."""
    device = asked.device
    gc.collect()  # an optimiser and its schedule hold each other, also the last variant's
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    training = Training(chosen, split, asked.batch, device, **VARIANTS[name])
    steps = [training.seconds_a_step(asked.steps) for _ in range(asked.rounds)]
    epochs = [training.epoch_seconds() for _ in range(asked.epochs)]
    memory = torch.cuda.max_memory_allocated() - split.bytes if device == "cuda" else None
    return {
        "warm-up s": training.warmup_seconds,
        "step s": statistics.median(steps),
        "epoch s": statistics.median(epochs),
        "memory": memory,
        "synchronises": training.synchronisation(),
        "rounds": {"step": steps, "epoch": epochs},
    }


def attempt(measure: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """What is measured, or the error: what was measured before it must not be lost."""
    try:
        return measure(*arguments)
    except Exception as error:  # a compiler's may be of any class
        first, *_ = (str(error) or "-").splitlines()
        told = traceback.format_exc()
        print(told, file=sys.stderr)
        return {"error": f"{type(error).__name__}: {first}", "traceback": told}


def evaluation(queries: int, videos: int, device: str, rounds: int) -> dict[str, Any]:
    """Seconds of scoring and ranking, everything encoded."""
    asked, given = gallery(videos, device=device), embedded(queries, videos, device)
    found = []
    for _ in range(1 + rounds):
        synchronise(device)
        start = time.perf_counter()
        rank_product(asked, given).compute()  # reads its result, so it waits for the device
        found.append(time.perf_counter() - start)
    return {"seconds": statistics.median(found[1:]), "rounds": found[1:]}


def rows(variants: dict[str, Any], flops: int, ceiling: float) -> list[dict[str, Any]]:
    """Of the table: a line a variant."""
    lines = []
    for name, found in variants.items():
        achieved = flops / found["step s"] if "step s" in found else None
        memory = found.get("memory")
        lines.append(
            {
                "training": name,
                **{key: found.get(key) for key in ("warm-up s", "step s", "epoch s")},
                "TFLOP/s": achieved and achieved / 1e12,
                "% of matmul": achieved and 100 * achieved / ceiling,
                "GB beyond features": memory and memory / 1e9,
                "synchronises": found.get("synchronises"),
                "error": found.get("error", ""),
            }
        )
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    options = parser(__doc__, "accelerator", rounds=5)
    options.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    options.add_argument("--config", choices=FEATURES, default="tvr", help="%(default)s by default")
    options.add_argument("--videos", type=positive, default=17_435)
    options.add_argument("--captions", type=positive, default=5, help="of each video")
    options.add_argument("--batch", type=positive, default=128)
    options.add_argument("--steps", type=positive, default=30, help="of a round")
    options.add_argument("--epochs", type=positive, default=2, help="measured as a whole")
    options.add_argument("--matmul", type=positive, default=8192, help="rows of the ceiling's")
    options.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    sizes = [shape(text) for text in EVALUATIONS]
    options.add_argument("--evaluations", nargs="+", type=shape, default=sizes)
    asked = options.parse_args(arguments)
    if asked.device == "cuda" and not torch.cuda.is_available():
        options.error("no CUDA GPU here; --device cpu with small sizes tries the script out")
    if asked.batch > asked.videos:
        options.error(f"--batch {asked.batch} is more than --videos {asked.videos}")
    use_threads(asked.threads)
    described, chosen = machine(), settings(asked.config)
    ceiling = matmul_ceiling(asked.device, asked.matmul)
    split = ResidentSplit(chosen, asked.videos, asked.captions, asked.device)
    flops = step_flops(chosen, split, asked.batch, asked.device)
    variants = {}
    for name in asked.variants:
        variants[name] = attempt(measure_training, chosen, split, asked, name)
        print(f"{name}: {variants[name]}", flush=True)
    del split
    evaluations = {}
    for queries, videos in asked.evaluations:
        name = f"{queries}x{videos}"
        evaluations[name] = attempt(evaluation, queries, videos, asked.device, asked.rounds)
        print(f"evaluation of {name} queries x videos: {evaluations[name]}", flush=True)
    details = {
        "variants": variants, "evaluations": evaluations, "step_flops": flops,
        "matmul_flops_a_second": ceiling,
        "sizes": {name: getattr(asked, name) for name in ("config", "videos", "captions", "batch")},
    }  # fmt: skip
    publish(asked.output, described, rows(variants, flops, ceiling), **details)


if __name__ == "__main__":
    main()
