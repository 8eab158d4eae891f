"""Training on a device, of which the host is only told the end: steps, epochs, FLOP, waits."""

import itertools
import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.inputs import Settings
from benchmarks.resident import ResidentSplit, endless
from benchmarks.steps import product_step
from dreamprvr.models.dreamprvr.network import DreamPRVR


def synchronise(device: str) -> None:
    """Wait until the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def matmul_ceiling(device: str, size: int, repeats: int = 30) -> float:
    """FLOP/s of a large bfloat16 matrix product, the best of three series."""
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    out = torch.empty_like(a)
    fastest = float("inf")
    for _ in range(4):  # the first warms up and never wins
        synchronise(device)
        start = time.perf_counter()
        for _ in range(repeats):
            torch.mm(a, b, out=out)
        synchronise(device)
        fastest = min(fastest, time.perf_counter() - start)
    return 2 * size**3 * repeats / fastest


def new_network(chosen: Settings, device: str) -> DreamPRVR:
    """With the same weights every time."""
    torch.manual_seed(0)
    sizes = (chosen.video_dim, chosen.text_dim)
    return DreamPRVR(*sizes, chosen.network, chosen.objective).to(device)


def step_flops(chosen: Settings, split: ResidentSplit, batch: int, device: str) -> int:
    """Floating-point operations of the matrix products of a step on a full batch."""
    step = product_step(new_network(chosen, device), chosen, half=True)
    data = next(endless(split, batch))
    with FlopCounterMode(display=False) as counter:
        step(data)
    return int(counter.get_total_flops())


class Training:
    """One variant, compiled and warmed up.

    Attributes:
        warmup_seconds: of the first steps, with batches of both sizes: compilation.
    """

    def __init__(
        self, chosen: Settings, split: ResidentSplit, batch: int, device: str, **options: bool
    ) -> None:
        torch.compiler.reset()
        self.device, self.split, self.batch = device, split, batch
        self.step = product_step(new_network(chosen, device), chosen, half=True, **options)
        self.batches = endless(split, batch)
        start = time.perf_counter()
        for data in itertools.islice(self.batches, 4):
            self.step(data)
        for data in split.epoch(batch):  # its last batch may be smaller: a graph of its own
            if len(data.videos.row) < batch:
                self.step(data)
        synchronise(device)
        self.warmup_seconds = time.perf_counter() - start

    def seconds_a_step(self, steps: int) -> float:
        """Of full batches, gathering included."""
        synchronise(self.device)
        start = time.perf_counter()
        for data in itertools.islice(self.batches, steps):
            self.step(data)
        synchronise(self.device)
        return (time.perf_counter() - start) / steps

    def epoch_seconds(self) -> float:
        """Of all videos once."""
        synchronise(self.device)
        start = time.perf_counter()
        for data in self.split.epoch(self.batch, seed=2):
            self.step(data)
        synchronise(self.device)
        return time.perf_counter() - start

    def synchronisation(self) -> str | None:
        """What makes the host wait for the device within two steps, or `no`; None if not CUDA."""
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
