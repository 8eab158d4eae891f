"""What benchmarks share: options, the machine, turns, ratios, peak memory, a table and its JSON."""

import argparse
import contextlib
import ctypes
import gc
import json
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch

RESULTS = Path(__file__).resolve().parent / "results"


def parser(description: str | None, name: str, rounds: int) -> argparse.ArgumentParser:
    """Options of every benchmark.

    Args:
        description: the benchmark's docstring; its first line is shown.
        name: of the JSON file, without its ending.
        rounds: how often everything is measured unless the user says otherwise.
    """
    options = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    options.add_argument("--threads", type=positive, help="of torch; its own choice by default")
    options.add_argument("--rounds", type=positive, default=rounds, help="%(default)s by default")
    options.add_argument(
        "--output", type=Path, default=RESULTS / f"{name}.json", help="default: %(default)s"
    )
    return options


def positive(text: str) -> int:
    """An option's whole number, at least 1.

    Raises:
        argparse.ArgumentTypeError: it is not one; argparse tells it in one line.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def use_threads(threads: int | None) -> None:
    """Let torch compute with so many threads; None leaves it as it is."""
    if threads is not None:
        torch.set_num_threads(threads)


def machine() -> dict[str, Any]:
    """What figures are measured on, and how busy it was; take it before the measurement."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _cpu_model() -> str:
    path = Path("/proc/cpuinfo")
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows with the same keys as text: a heading, then a line each; numbers to the right.

    Floats are shown with three digits or as whole numbers, None as a dash.
    """
    headings = list(rows[0])
    cells = [headings, *([_shown(row[name]) for name in headings] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    numeric = [all(isinstance(row[name], (int, float, type(None))) for row in rows)
               for name in headings]  # fmt: skip
    lines = []
    for line in cells:
        padded = zip(line, widths, numeric, strict=True)
        lines.append("  ".join(c.rjust(w) if n else c.ljust(w) for c, w, n in padded).rstrip())
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)


def publish(
    path: Path, described: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], **details: Any
) -> None:
    """Print a table and the machine, and write both and all details as JSON.

    Args:
        path: of the JSON file; its folder is made, an older file is replaced.
        described: `machine()`.
        rows: of the table, all with the same keys.
        details: whatever else belongs to the figures: sizes, every round's seconds.
    """
    print(f"\n{table(rows)}\n\n" + ", ".join(f"{key} {value}" for key, value in described.items()))
    path.parent.mkdir(parents=True, exist_ok=True)
    result = {"machine": described, "results": rows, **details}
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"written: {path.name}", flush=True)


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
