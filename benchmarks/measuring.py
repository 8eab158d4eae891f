"""Parts that all benchmarks share: options, the machine, rounds, ratios, peak memory, results."""

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
STATUS = Path("/proc/self/status")
Result = TypeVar("Result")
Key = TypeVar("Key")


def parser(
    description: str | None, name: str, rounds: int, **numbers: int
) -> argparse.ArgumentParser:
    """Make the parser of a benchmark.

    Args:
        description: docstring of the benchmark; its first line is shown.
        name: name of the JSON file, without its ending.
        rounds: default number of rounds.
        numbers: further options that take a whole number of at least 1, with their defaults.
    """
    options = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    options.add_argument(
        "--threads", type=positive, help="threads of torch; its own choice by default"
    )
    for option, default in {"rounds": rounds, **numbers}.items():
        options.add_argument(
            f"--{option}", type=positive, default=default, help="%(default)s by default"
        )
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


def begin(options: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the options, set torch's threads, and describe the machine before it is busy.

    Args:
        options: parser of the benchmark.
        arguments: words of the command line; those of the process if None.

    Returns:
        The options, and the description as `machine`.
    """
    args = options.parse_args(arguments)
    use_threads(args.threads)
    args.machine = machine()
    return args


def use_threads(threads: int | None) -> None:
    """Set the number of threads that torch computes with; None leaves it as it is."""
    if threads is not None:
        torch.set_num_threads(threads)


def machine() -> dict[str, Any]:
    """Describe the machine and how busy it is."""
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
    cells = [headings, *([_cell(row[name]) for name in headings] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    numeric = [all(isinstance(row[name], (int, float, type(None))) for row in rows)
               for name in headings]  # fmt: skip
    lines = []
    for line in cells:
        padded = zip(line, widths, numeric, strict=True)
        lines.append("  ".join(c.rjust(w) if n else c.ljust(w) for c, w, n in padded).rstrip())
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)


def publish(args: argparse.Namespace, rows: Sequence[Mapping[str, Any]], **details: Any) -> None:
    """Print a table and the machine, and write them with all options and details as JSON.

    Args:
        args: result of `begin`; `output` is the file to write.
        rows: rows of the table, all with the same keys.
        details: further figures for the JSON file, such as the seconds of every round.
    """
    print(
        f"\n{table(rows)}\n\n" + ", ".join(f"{key} {value}" for key, value in args.machine.items())
    )
    options = {
        name: value for name, value in vars(args).items() if name not in ("machine", "output")
    }
    result = {"machine": args.machine, "options": options, "results": rows, **details}
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(result, indent=2, default=str) + "\n", encoding="utf-8")
    print(f"written: {args.output.name}", flush=True)


def seconds(work: Callable[[], object]) -> float:
    """Measure the seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def interleave(
    ways: Mapping[Key, Callable[[], object]], rounds: int, warmup: int = 1
) -> dict[Key, list[float]]:
    """Measure the seconds of several ways, which take turns in each round.

    So other work of the machine slows all of them.

    Args:
        ways: functions to call, by name or size.
        rounds: number of rounds that count.
        warmup: number of rounds before these, which fill caches and memory pools.
    """
    taken: dict[Key, list[float]] = {name: [] for name in ways}
    for turn in range(warmup + rounds):
        for name, work in ways.items():
            once = seconds(work)
            if turn >= warmup:
                taken[name].append(once)
    return taken


class Ratio(NamedTuple):
    """Median, smallest and largest ratio of the seconds of two ways, over all rounds."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


def ratio(baseline: Sequence[float], product: Sequence[float]) -> Ratio:
    """Compare the seconds of each round: above 1, the product is faster than the baseline."""
    ratios = [slow / fast for slow, fast in zip(baseline, product, strict=True)]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios))


def comparison(taken: Mapping[str, Sequence[float]]) -> dict[str, dict[str, Any]]:
    """Make cells of a table for each way: its median seconds, and its ratio to the first way.

    Args:
        taken: seconds of each round, as `interleave` returns them.
    """
    first = next(iter(taken))
    return {
        name: {"seconds": statistics.median(own), f"x {first}": str(ratio(taken[first], own))}
        for name, own in taken.items()
    }


class Measured(NamedTuple):
    """Result of a call, its seconds, and the growth of the memory."""

    result: Any
    seconds: float
    peak_bytes: int  # largest resident memory during the call, less the memory before it


def peak_growth(work: Callable[[], Result]) -> Measured:
    """Call a function once and measure its largest resident memory beyond that before the call.

    Where the system's peak cannot be reset, the peak of the process so far is used, which can only
    overstate the growth. So let a fresh process measure one thing.
    """
    gc.collect()
    with contextlib.suppress(OSError, TypeError, AttributeError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)  # freed memory that is used again would not count
    with contextlib.suppress(OSError):  # another system, or one that does not allow it
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts from now
    before = status_bytes("VmRSS") or _peak()
    start = time.perf_counter()
    result = work()
    taken = time.perf_counter() - start
    return Measured(result, taken, max(0, _peak() - before))


def _peak() -> int:
    """Return the largest resident bytes so far.

    The kernel's figure is preferred: that of getrusage includes the memory that the parent process
    had when it started this one.
    """
    peak = status_bytes("VmHWM")
    if peak is not None:
        return peak
    import resource  # no such module on Windows
    import sys

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def status_bytes(name: str) -> int | None:
    """Return the bytes in a line of the process's status, or None without such a line."""
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
        arguments: its arguments; they and its result must be picklable.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(work, *arguments).result()
