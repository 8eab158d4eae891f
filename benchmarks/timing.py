"""Measuring: several ways in turn, their ratio, and the peak memory of a process of its own."""

import contextlib
import ctypes
import gc
import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

Result = TypeVar("Result")
STATUS = Path("/proc/self/status")


def seconds(work: Callable[[], object]) -> float:
    """Of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def interleave(
    ways: Mapping[str, Callable[[], object]], rounds: int, warmup: int = 1
) -> dict[str, list[float]]:
    """Seconds of each way in each round.

    All ways take turns, so that whatever else the machine does slows all of them.

    Args:
        ways: what to call, by name.
        rounds: that count.
        warmup: rounds before those, which fill caches and pools.
    """
    found: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(warmup + rounds):
        for name, work in ways.items():
            taken = seconds(work)
            if turn >= warmup:
                found[name].append(taken)
    return found


class Ratio(NamedTuple):
    """How many times as fast as the baseline the product is, over rounds."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


def ratio(baseline: Sequence[float], product: Sequence[float]) -> Ratio:
    """Median, smallest and largest of the rounds' ratios of seconds."""
    ratios = [slow / fast for slow, fast in zip(baseline, product, strict=True)]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios))


class Measured(NamedTuple):
    """A call's result, what it took, and how far memory grew over it."""

    result: Any
    seconds: float
    peak_bytes: int  # largest resident memory during the call, less that before it


def peak_growth(work: Callable[[], Result]) -> Measured:
    """Call once; how far its largest resident memory lies above that before the call.

    Where the system keeps no resettable peak, the process's peak so far stands for it, which can
    only overstate the growth. So let a fresh process measure one thing.
    """
    gc.collect()
    _trim()
    before = _reset_peak()
    start = time.perf_counter()
    result = work()
    taken = time.perf_counter() - start
    return Measured(result, taken, max(0, _peak() - before))


def _trim() -> None:
    """Give freed memory back to the system: reused unseen, it would hide what the call takes."""
    with contextlib.suppress(OSError, TypeError, AttributeError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)


def _reset_peak() -> int:
    """Resident bytes now, which the peak then starts from."""
    with contextlib.suppress(OSError):  # another system, or one that does not allow it
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _status("VmRSS") or _peak()


def _peak() -> int:
    """Largest resident bytes so far.

    The kernel's figure of this program comes first: getrusage's also holds what the parent had
    in memory when it started this process.
    """
    peak = _status("VmHWM")
    if peak is not None:
        return peak
    import resource  # no such module on Windows
    import sys

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _status(name: str) -> int | None:
    """Bytes of a line of the process's status; None where there is none."""
    if not STATUS.exists():
        return None
    for line in STATUS.read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024  # in kB
    return None


def in_fresh_process(work: Callable[..., Result], *arguments: Any) -> Result:
    """Call in a new process, which shares no memory with this one.

    Args:
        work: a module's function.
        arguments: picklable, as the result must be.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(work, *arguments).result()
