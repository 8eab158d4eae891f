"""Measure a training step, an epoch and an evaluation at TVR's size on one CUDA GPU.

    python -m benchmarks.accelerator [--variants plain compile graphs fused] [--steps N]
    python -m benchmarks.accelerator --device cpu --config synthetic --videos 8 --batch 4 \
        --steps 2 --matmul 256 --evaluations 40x30 --variants plain

There are 17,435 videos with 5 captions each, in batches of 128, with bfloat16 mixed precision and
hard negatives. The random features lie on the GPU as float16 (about 14 GB), and batches are
gathered there, as the data modules do with `device_resident`. The variants run one after the other:
not compiled, `training.compile`, this with CUDA graphs, and this with `training.fused_attention`.
If one fails, its row has the error and the JSON file the traceback, and the others still run.
"""

import argparse
import gc
import itertools
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.growth import shape
from benchmarks.inputs import FEATURES, SHORTEST_VIDEO, WORDS, Settings, settings
from benchmarks.measuring import begin, parser, publish
from benchmarks.ranking import embedded, gallery, rank_product
from benchmarks.training_step import product_step
from data_modules.loading.gather import (
    Buffers,
    Field,
    gather_queries,
    gather_videos,
    offsets_of,
    on_device,
)
from dreamprvr.core.batch import TrainBatch
from dreamprvr.models.dreamprvr.network import DreamPRVR

VARIANTS: dict[str, dict[str, bool]] = {
    "plain": {},
    "compile": {"compiled": True},
    "graphs": {"compiled": True, "cuda_graphs": True},
    "fused": {"compiled": True, "fused": True},
}
# queries x videos of TVR and ActivityNet
EVALUATIONS = ("10895x2179", "15753x4430")
PART = 100_000  # number of rows that are generated at once


class ResidentSplit:
    """Videos with captions, whose rows lie on the device as float16 and are gathered there.

    Args:
        chosen: settings with the feature sizes and lengths.
        videos: number of videos.
        captions: number of captions of each video.
        device: device that holds the rows.
    """

    def __init__(self, chosen: Settings, videos: int, captions: int, device: str) -> None:
        self.videos = videos
        self.captions = captions
        self.max_frames = chosen.network.max_frames
        self._device = device
        random = np.random.default_rng(0)
        shortest = max(1, min(SHORTEST_VIDEO, self.max_frames // 2))
        longest = min(WORDS[1], chosen.network.max_words)
        frames = random.integers(shortest, self.max_frames + 1, videos)
        words = random.integers(min(WORDS[0], longest), longest + 1, videos * captions)
        clips = np.full(videos, chosen.network.num_clips)
        self._fields = {
            "clips": self._field(clips, chosen.video_dim),
            "frames": self._field(frames, chosen.video_dim),
            "words": self._field(words, chosen.text_dim),
        }
        # the true video of each caption, and the padding
        self._true = np.append(np.arange(videos).repeat(captions), -1)
        self._true_offsets = offsets_of(np.ones(videos * captions, np.int64))
        self._buffers = Buffers()

    def field(self, name: str) -> Field:
        """Return the rows called `clips`, `frames` or `words`."""
        return self._fields[name]

    @property
    def bytes(self) -> int:
        """Bytes of all rows."""
        return sum(field.rows.nbytes for field in self._fields.values())

    def batch(self, rows: np.ndarray) -> TrainBatch:
        """Gather the videos of rows (B,) int64 and all their captions, without waiting."""
        captions = (rows[:, None] * self.captions + np.arange(self.captions)).reshape(-1)
        videos = gather_videos(self, rows, self.max_frames, self._buffers)
        queries = gather_queries(self, captions, self._true, self._true_offsets, self._buffers)
        labels = torch.from_numpy(np.arange(len(rows)).repeat(self.captions))
        return TrainBatch(videos, queries, on_device(labels, torch.device(self._device)))

    def epoch(self, size: int, seed: int = 0) -> Iterator[TrainBatch]:
        """Yield all videos in random order, `size` at a time; the last batch may be smaller."""
        order = np.random.default_rng(seed).permutation(self.videos)
        for start in range(0, self.videos, size):
            yield self.batch(order[start : start + size])

    def _field(self, lengths: np.ndarray, size: int) -> Field:
        """Make random rows of about unit length, and a row of zeros."""
        offsets = offsets_of(lengths)
        rows = torch.empty(int(offsets[-1]) + 1, size, dtype=torch.float16, device=self._device)
        for part in rows.split(PART):  # fewer entries than a kernel can count with 32 bits
            part.normal_(std=size**-0.5)
        rows[-1] = 0
        return Field(rows, offsets)


def endless(split: ResidentSplit, size: int) -> Iterator[TrainBatch]:
    """Yield full batches of `size` videos without end, each epoch in another order."""
    seed = 1
    while True:
        for batch in split.epoch(size, seed):
            if len(batch.labels) == size * split.captions:
                yield batch
        seed += 1


def seconds_on(device: str, work: Callable[[], object]) -> float:
    """Measure the seconds of one call, from an idle device until it has finished all its work."""
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    wait()
    start = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - start


def matmul_ceiling(device: str, size: int, repeats: int = 30) -> float:
    """Measure the FLOP/s of a large bfloat16 matrix product, the best of three series."""
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    out = torch.empty_like(a)

    def series() -> None:
        for _ in range(repeats):
            torch.mm(a, b, out=out)

    fastest = min(seconds_on(device, series) for _ in range(4))  # the first warms up, never wins
    return 2 * size**3 * repeats / fastest


def new_network(chosen: Settings, device: str) -> DreamPRVR:
    """Make a network, with the same weights every time."""
    torch.manual_seed(0)
    sizes = (chosen.video_dim, chosen.text_dim)
    return DreamPRVR(*sizes, chosen.network, chosen.objective).to(device)


def step_flops(chosen: Settings, split: ResidentSplit, batch: int, device: str) -> int:
    """Count the floating-point operations of a step's matrix products on a full batch."""
    step = product_step(new_network(chosen, device), chosen, half=True)
    data = next(endless(split, batch))
    with FlopCounterMode(display=False) as counter:
        step(data)
    return int(counter.get_total_flops())


class Training:
    """A training in one variant, compiled and warmed up.

    Attributes:
        warmup_seconds: seconds of the first steps, which compile for both sizes of batches.
    """

    def __init__(
        self, chosen: Settings, split: ResidentSplit, batch: int, device: str, **options: bool
    ) -> None:
        torch.compiler.reset()
        self.device, self.split, self.batch = device, split, batch
        self.step = product_step(new_network(chosen, device), chosen, half=True, **options)
        self.batches = endless(split, batch)
        # a smaller last batch needs a graph of its own
        last = (data for data in split.epoch(batch) if len(data.videos.row) < batch)
        first = itertools.islice(self.batches, 4)
        self.warmup_seconds = self._seconds(itertools.chain(first, last))

    def seconds_a_step(self, steps: int) -> float:
        """Measure the seconds of a step on full batches, with gathering."""
        return self._seconds(itertools.islice(self.batches, steps)) / steps

    def epoch_seconds(self) -> float:
        """Measure the seconds of an epoch, all videos once."""
        return self._seconds(self.split.epoch(self.batch, seed=2))

    def _seconds(self, batches: Iterator[TrainBatch]) -> float:
        def train() -> None:
            for data in batches:
                self.step(data)

        return seconds_on(self.device, train)

    def synchronisation(self) -> str | None:
        """Return the first reason for the host to wait in two steps, or "no"; None on the CPU."""
        if self.device != "cuda":
            return None
        torch.cuda.set_sync_debug_mode("error")
        try:
            for data in itertools.islice(self.batches, 2):
                self.step(data)
        except RuntimeError as error:
            return str(error).partition("\n")[0]
        finally:
            torch.cuda.set_sync_debug_mode("default")
        return "no"


def measure_training(
    chosen: Settings, split: ResidentSplit, args: argparse.Namespace, name: str
) -> dict[str, Any]:
    """Measure one variant; memory is in bytes, and None on the CPU."""
    device = args.device
    gc.collect()  # frees the last variant: its optimiser and schedule refer to each other
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    training = Training(chosen, split, args.batch, device, **VARIANTS[name])
    steps = [training.seconds_a_step(args.steps) for _ in range(args.rounds)]
    epochs = [training.epoch_seconds() for _ in range(args.epochs)]
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
    """Return the measured figures, or the error, so that earlier figures are not lost."""
    try:
        return measure(*arguments)
    except Exception as error:  # a compiler's errors have many classes
        first, *_ = (str(error) or "-").splitlines()
        lines = traceback.format_exc()
        print(lines, file=sys.stderr)
        return {"error": f"{type(error).__name__}: {first}", "traceback": lines}


def evaluation(queries: int, videos: int, device: str, rounds: int) -> dict[str, Any]:
    """Measure the seconds of scoring and ranking encoded queries and videos."""
    encoded_videos = gallery(videos, device=device)
    encoded_queries = embedded(queries, videos, device)
    seconds = [
        seconds_on(device, lambda: rank_product(encoded_videos, encoded_queries).compute())
        for _ in range(1 + rounds)
    ]
    return {"seconds": statistics.median(seconds[1:]), "rounds": seconds[1:]}


def rows(variants: dict[str, Any], flops: int, ceiling: float) -> list[dict[str, Any]]:
    """Make the rows of the table, one for each variant.

    Args:
        variants: figures of `measure_training` by name.
        flops: floating-point operations of a step's matrix products.
        ceiling: operations a second of a large matrix product.
    """
    lines = []
    for name, figures in variants.items():
        speed = flops / figures["step s"] if "step s" in figures else None
        memory = figures.get("memory")
        lines.append(
            {
                "training": name,
                **{key: figures.get(key) for key in ("warm-up s", "step s", "epoch s")},
                "TFLOP/s": speed and speed / 1e12,
                "% of matmul": speed and 100 * speed / ceiling,
                "GB beyond features": memory and memory / 1e9,
                "synchronises": figures.get("synchronises"),
                "error": figures.get("error", ""),
            }
        )
    return lines


def read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the options, and refuse those that do not fit together."""
    options = parser(
        __doc__, "accelerator", rounds=5, videos=17_435, captions=5, batch=128, steps=30, epochs=2,
        matmul=8192,
    )  # fmt: skip
    options.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    options.add_argument("--config", choices=FEATURES, default="tvr", help="%(default)s by default")
    options.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    sizes = [shape(text) for text in EVALUATIONS]
    options.add_argument("--evaluations", nargs="+", type=shape, default=sizes)
    args = begin(options, arguments)
    if args.device == "cuda" and not torch.cuda.is_available():
        options.error("no CUDA GPU here; --device cpu with small sizes tries the script out")
    if args.batch > args.videos:
        options.error(f"--batch {args.batch} is more than --videos {args.videos}")
    return args


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the variants, print the table and write the JSON."""
    args = read_options(arguments)
    chosen = settings(args.config)
    ceiling = matmul_ceiling(args.device, args.matmul)
    split = ResidentSplit(chosen, args.videos, args.captions, args.device)
    flops = step_flops(chosen, split, args.batch, args.device)
    variants = {}
    for name in args.variants:
        variants[name] = attempt(measure_training, chosen, split, args, name)
        print(f"{name}: {variants[name]}", flush=True)
    del split
    evaluations = {}
    for queries, videos in args.evaluations:
        name = f"{queries}x{videos}"
        evaluations[name] = attempt(evaluation, queries, videos, args.device, args.rounds)
        print(f"evaluation of {name} queries x videos: {evaluations[name]}", flush=True)
    publish(
        args, rows(variants, flops, ceiling), variants=variants, evaluations=evaluations,
        step_flops=flops, matmul_flops_a_second=ceiling,
    )  # fmt: skip


if __name__ == "__main__":
    main()
