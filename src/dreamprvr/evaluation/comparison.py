"""Statistics and table of a comparison of models (docs/protocol.md, Comparing models).

Everything here is a pure function of the results of runs: one run is one model, trained with one
seed and tested. The first model is the reference of all differences.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dreamprvr.core.errors import UserError
from dreamprvr.core.text import number, read_csv
from dreamprvr.evaluation.metrics import CUTOFFS

DRAWS = 10_000  # draws of the bootstrap
SEED = 0  # seed of the bootstrap's generator
LEVEL = 95  # per cent that an interval holds
BLOCK = 1 << 20  # numbers that a block of draws takes at once
RANK_COLUMNS = ("query_id", "video_id", "rank")
MAIN = "SumR"  # the metric whose difference the short table shows
_COSTS = {  # title, factor and unit of the table's column
    "parameters": ("parameters", 1e-6, "M"),
    "step": ("training step", 1e3, "ms"),
    "encode": ("encoding, a video", 1e3, "ms"),
    "stored": ("storage, a video", 1e-3, "kB"),
    "query": ("query", 1e3, "ms"),
}
_RECALL = re.compile(r"R@(\d+)")


class Run(NamedTuple):
    """The test result of one model with one seed.

    Attributes:
        seed: seed of the training.
        metrics: metrics of the test split by name.
        ranks: a row for each query of the test split, as `read_ranks` gives it.
    """

    seed: int
    metrics: Mapping[str, float]
    ranks: pd.DataFrame


class Difference(NamedTuple):
    """A difference to the reference with its interval, in the unit of the metric."""

    difference: float
    low: float
    high: float

    @property
    def significant(self) -> bool:
        """True if the interval does not hold 0."""
        return self.low > 0 or self.high < 0


class Cost(NamedTuple):
    """The cost of a model; None where it could not be measured.

    Attributes:
        parameters: number of trained parameters.
        step: median seconds of a training step.
        encode: median seconds of encoding a video.
        stored: mean number of bytes that a library stores of a video.
        query: median seconds of encoding a query and scoring all videos of the test split.
    """

    parameters: int | None = None
    step: float | None = None
    encode: float | None = None
    stored: float | None = None
    query: float | None = None


# Ranks


def read_ranks(path: Path) -> pd.DataFrame:
    """Read the ranks of a test's queries, which `lightning test --ranks FILE` wrote.

    Args:
        path: path of the CSV file.

    Returns:
        The columns `query_id`, `video_id` and `rank`, and those of further measures as float.

    Raises:
        UserError: a column is missing, a cell holds no such number, or a query stands twice.
    """
    columns, rows = read_csv(path)
    if lacking := [name for name in RANK_COLUMNS if name not in columns]:
        raise UserError(f"{path} has no column {lacking[0]}; `lightning test --ranks` writes it")
    measures = [name for name in columns if name not in RANK_COLUMNS]
    cells: list[tuple[Any, ...]] = []
    for line, row in rows:
        if not (row["rank"].isdecimal() and len(row["rank"]) < 16 and int(row["rank"]) > 0):
            raise UserError(f"{path}, line {line}: rank is no whole number from 1; test again")
        values = [number(row[name]) for name in measures]
        if None in values:
            raise UserError(f"{path}, line {line}: a measure is no number; test again")
        cells.append((row["query_id"], row["video_id"], int(row["rank"]), *values))
    table = pd.DataFrame(cells, columns=[*RANK_COLUMNS, *measures])
    if table.empty or table["query_id"].duplicated().any():
        raise UserError(f"{path} holds no query, or one of them twice; test again")
    return table


def query_values(ranks: pd.DataFrame, metrics: Sequence[str]) -> np.ndarray:
    """Compute each query's value of each metric; the mean over the queries is the metric.

    Args:
        ranks: result of `read_ranks`, of Q queries.
        metrics: M names of those that `paired_metrics` selects.

    Returns:
        (Q, M) in per cent.
    """
    rank = ranks["rank"].to_numpy()
    columns = []
    for name in metrics:
        if name in ranks:
            columns.append(ranks[name].to_numpy())
        else:
            cutoffs = CUTOFFS if name == "SumR" else (int(name.removeprefix("R@")),)
            columns.append(sum(100.0 * (rank <= cutoff) for cutoff in cutoffs))
    return np.stack(columns, axis=1)  # (Q, M)


def paired_metrics(models: Mapping[str, Sequence[Run]]) -> list[str]:
    """Select the metrics whose values are known for each query of each run.

    Args:
        models: finished runs by the name of the model.
    """
    every = [run for runs in models.values() for run in runs]
    names = dict.fromkeys(name for run in every for name in run.metrics)
    return [
        name
        for name in names
        if name == "SumR" or _RECALL.fullmatch(name) or all(name in run.ranks for run in every)
    ]


# The paired bootstrap


def bootstrap(
    differences: np.ndarray, videos: np.ndarray, draws: int = DRAWS, seed: int = SEED
) -> np.ndarray:
    """Draw videos with replacement, and average the differences of their queries.

    The queries of a video are drawn together, since they are not independent. A draw takes as many
    videos as there are; its mean is that over all queries of the drawn videos.

    Args:
        differences: a difference of two models in C values, for each query, (Q, C).
        videos: number of each query's video, from 0, (Q,).
        draws: N, number of draws.
        seed: seed of the generator.

    Returns:
        The means of the draws, (N, C).
    """
    count = int(videos.max()) + 1
    totals = np.zeros((count, differences.shape[1] + 1))  # of each video; the last: its queries
    np.add.at(totals, videos, np.column_stack([differences, np.ones(len(differences))]))
    generator = np.random.default_rng(seed)
    size = max(1, BLOCK // count)
    means = []
    for start in range(0, draws, size):
        rows = min(size, draws - start)
        drawn = generator.integers(count, size=(rows, count))
        place = drawn + count * np.arange(rows)[:, None]
        times = np.bincount(place.ravel(), minlength=rows * count).reshape(rows, count)
        sums = times @ totals  # (rows, C + 1)
        means.append(sums[:, :-1] / sums[:, -1:])
    return np.concatenate(means)


def paired_differences(
    models: Mapping[str, Sequence[Run]], metrics: Sequence[str]
) -> dict[str, dict[str, Difference]]:
    """Compare each model with the first one, query by query.

    Args:
        models: finished runs by the name of the model; the first is the reference. Those without a
            run are left out.
        metrics: names of those that `paired_metrics` selects.

    Returns:
        Differences by metric, by the name of the model; nothing of the reference.

    Raises:
        UserError: two runs were tested on different queries.
    """
    finished = {name: runs for name, runs in models.items() if runs}
    if len(finished) < 2 or not metrics or next(iter(models)) not in finished:
        return {}
    table = next(iter(finished.values()))[0].ranks.sort_values("query_id")
    means = {}
    for name, runs in finished.items():
        values = np.zeros((len(table), len(metrics)))
        for run in runs:
            ranks = run.ranks.sort_values("query_id")
            if not np.array_equal(ranks["query_id"], table["query_id"]):
                raise UserError(
                    f"{name}, seed {run.seed}: it was tested on other queries than the first run; "
                    "begin a new comparison with --name"
                )
            values += query_values(ranks, metrics)
        means[name] = values / len(runs)
    reference, *others = means
    wide = np.concatenate([means[name] - means[reference] for name in others], axis=1)
    drawn = bootstrap(wide, pd.factorize(table["video_id"])[0])
    tail = (100 - LEVEL) / 2
    limits = np.percentile(drawn, [tail, 100 - tail], axis=0)  # (2, others * metrics)
    found = np.stack([wide.mean(axis=0), *limits]).reshape(3, len(others), len(metrics))
    return {
        name: {
            metric: Difference(*map(float, found[:, row, column]))
            for column, metric in enumerate(metrics)
        }
        for row, name in enumerate(others)
    }


# The table


def summary(
    models: Mapping[str, Sequence[Run]], costs: Mapping[str, Cost] | None = None
) -> list[dict[str, Any]]:
    """Summarise all runs of each model.

    Args:
        models: finished runs by the name of the model; the first is the reference.
        costs: costs by the name of the model.

    Returns:
        A row for each model: `model`, `runs`, for each metric `<metric>` (the mean),
        `<metric> deviation` (of a sample; None for a single run), and, for those that
        `paired_metrics` selects, `<metric> difference`, `<metric> low` and `<metric> high`; then
        the fields of `Cost`.
    """
    names = list(
        dict.fromkeys(key for runs in models.values() for run in runs for key in run.metrics)
    )
    paired = paired_metrics(models)
    differences = paired_differences(models, paired)
    rows = []
    for model, runs in models.items():
        row: dict[str, Any] = {"model": model, "runs": len(runs)}
        for name in names:
            found = [run.metrics[name] for run in runs if name in run.metrics]
            row[name] = float(np.mean(found)) if found else None
            row[f"{name} deviation"] = float(np.std(found, ddof=1)) if len(found) > 1 else None
            if name in paired:
                difference = differences.get(model, {}).get(name)
                values = difference._asdict() if difference else dict.fromkeys(Difference._fields)
                row |= {f"{name} {key}": value for key, value in values.items()}
        rows.append(row | (costs or {}).get(model, Cost())._asdict())
    return rows


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write the rows of `summary` as CSV; an empty cell stands for None."""
    return pd.DataFrame(rows).to_csv(index=False, lineterminator="\n")


def json_text(rows: Sequence[Mapping[str, Any]], **more: Any) -> str:
    """Write the rows of `summary`, how they were computed, and further values as JSON."""
    how = {"draws": DRAWS, "seed": SEED, "level": LEVEL, "drawn": "videos"}
    return json.dumps({"models": list(rows), "bootstrap": how, **more}, indent=2) + "\n"


def markdown(rows: Sequence[Mapping[str, Any]], remarks: Sequence[str] = ()) -> str:
    """Write the rows of `summary` as a table in Markdown, aligned so that it also reads as text.

    Args:
        rows: result of `summary`.
        remarks: lines to write below the table.
    """
    reference = rows[0]["model"]
    names = [key.removesuffix(" deviation") for key in rows[0] if key.endswith(" deviation")]
    cells = [["model", "runs", *names]]
    cells += [
        [row["model"], str(row["runs"]), *(_mean(row, name) for name in names)] for row in rows
    ]
    columns = [[f"{MAIN} - {reference} ({LEVEL} %)", *map(_difference, rows)]]
    columns += [
        [title, *(_shown(row[field], factor, unit) for row in rows)]
        for field, (title, factor, unit) in _COSTS.items()
    ]
    for column in columns:
        if any(cell != "-" for cell in column[1:]):
            for line, cell in zip(cells, column, strict=True):
                line.append(cell)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = ["-" * width if not at else "-" * (width - 1) + ":" for at, width in enumerate(widths)]
    lines = [_line(cells[0], widths), _line(rule, widths), *(_line(c, widths) for c in cells[1:])]
    return "\n".join([*lines, *(["", *remarks] if remarks else [])]) + "\n"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    name, *numbers = zip(cells, widths, strict=True)
    padded = [name[0].ljust(name[1]), *(cell.rjust(width) for cell, width in numbers)]
    return f"| {' | '.join(padded)} |"


def _mean(row: Mapping[str, Any], name: str) -> str:
    mean, deviation = row[name], row[f"{name} deviation"]
    if mean is None:
        return "-"
    return f"{mean:.1f}" if deviation is None else f"{mean:.1f} ± {deviation:.1f}"


def _difference(row: Mapping[str, Any]) -> str:
    values: list[Any] = [row.get(f"{MAIN} {key}") for key in Difference._fields]
    if None in values:
        return "-"
    difference = Difference(*values)
    mark = "*" if difference.significant else ""
    return "{:+.1f} [{:+.1f}, {:+.1f}]".format(*difference) + mark


def _shown(value: float | None, factor: float, unit: str) -> str:
    if value is None:
        return "-"
    scaled = factor * value
    return f"{scaled:,.0f} {unit}" if scaled >= 100 else f"{scaled:.3g} {unit}"
