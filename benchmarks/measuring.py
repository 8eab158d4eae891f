"""Shared parts of benchmarks: options, machine, turns, ratios, peak memory, tables and JSON."""

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
    """Make the parser of a benchmark, with the options that all have.

    Args:
        description: docstring of the benchmark; its first line is shown.
        name: name of the JSON file, without its ending.
        rounds: how often everything is measured by default.
    """
    options = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    options.add_argument("--threads", type=positive, help="of torch; its own choice by default")
    options.add_argument("--rounds", type=positive, default=rounds, help="%(default)s by default")
    options.add_argument(
        "--output", type=Path, default=RESULTS / f"{name}.json", help="default: %(default)s"
    )
    return options


def positive(text: str) -> int:
    """Read a whole number of at least 1.

    Raises:
        argparse.ArgumentTypeError: the text is something else.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def use_threads(threads: int | None) -> None:
    """Set the number of threads that torch computes with; None leaves it as it is."""
    if threads is not None:
        torch.set_num_threads(threads)


def machine() -> dict[str, Any]:
    """Describe the machine and how busy it is; call this before the measurement."""
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
    """Format rows with the same keys as text: a line of headings, then a line for each row.

    Numbers stand to the right. Floats have three digits or are whole numbers; None is a dash.
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
        path: JSON file; its folder is made, an older file is replaced.
        described: result of `machine()`.
        rows: rows of the table, all with the same keys.
        details: what else belongs to the figures: sizes, the seconds of every round.
    """
    print(f"\n{table(rows)}\n\n" + ", ".join(f"{key} {value}" for key, value in described.items()))
    path.parent.mkdir(parents=True, exist_ok=True)
    result = {"machine": described, "results": rows, **details}
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"written: {path.name}", flush=True)


Result = TypeVar("Result")
STATUS = Path("/proc/self/status")


def seconds(work: Callable[[], object]) -> float:
    """Measure the seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def interleave(
    ways: Mapping[str, Callable[[], object]], rounds: int, warmup: int = 1
) -> dict[str, list[float]]:
    """Measure the seconds of each way in each round.

    All ways take turns, so that other work of the machine slows all of them.

    Args:
        ways: functions to call, by name.
        rounds: number of rounds that count.
        warmup: number of rounds before those, which fill caches and pools.
    """
    found: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(warmup + rounds):
        for name, work in ways.items():
            taken = seconds(work)
            if turn >= warmup:
                found[name].append(taken)
    return found


class Ratio(NamedTuple):
    """Ratio of speeds over rounds: how many times as fast as the baseline the product is."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


def ratio(baseline: Sequence[float], product: Sequence[float]) -> Ratio:
    """Return the median, smallest and largest ratio of seconds of all rounds."""
    ratios = [slow / fast for slow, fast in zip(baseline, product, strict=True)]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios))


class Measured(NamedTuple):
    """Result of a call, its seconds, and how far memory grew meanwhile."""

    result: Any
    seconds: float
    peak_bytes: int  # largest resident memory during the call, less that before it


def peak_growth(work: Callable[[], Result]) -> Measured:
    """Call once, and measure how far the largest resident memory lies above that before the call.

    Where the system's peak cannot be reset, the peak of the process so far is taken, which can only
    overstate the growth. So let a fresh process measure one thing.
    """
    gc.collect()
    _trim()
    before = _reset_peak()
    start = time.perf_counter()
    result = work()
    taken = time.perf_counter() - start
    return Measured(result, taken, max(0, _peak() - before))


def _trim() -> None:
    """Give freed memory back to the system: used again, it would hide what the call takes."""
    with contextlib.suppress(OSError, TypeError, AttributeError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)


def _reset_peak() -> int:
    """Let the peak start from the resident bytes of now, and return those."""
    with contextlib.suppress(OSError):  # another system, or one that does not allow it
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _status("VmRSS") or _peak()


def _peak() -> int:
    """Return the largest resident bytes so far.

    The kernel's figure is preferred: that of getrusage also holds what the parent process had in
    memory when it started this one.
    """
    peak = _status("VmHWM")
    if peak is not None:
        return peak
    import resource  # no such module on Windows
    import sys

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _status(name: str) -> int | None:
    """Return the bytes that a line of the process's status gives, or None without such a line."""
    if not STATUS.exists():
        return None
    for line in STATUS.read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024  # in kB
    return None


def in_fresh_process(work: Callable[..., Result], *arguments: Any) -> Result:
    """Call a function in a new process, which shares no memory with this one.

    Args:
        work: function of a module.
        arguments: its arguments, which can be pickled, as its result can.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(work, *arguments).result()
