"""What every benchmark has in common: its options, the machine, a table, a JSON file beside it."""

import argparse
import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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
