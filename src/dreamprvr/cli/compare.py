"""compare: several models, each trained and tested with the same budget and several seeds.

A comparison is a folder. It holds `<label>.yaml`, the whole configuration of a model; a folder
`<label>_seed<k>` for each run, which is an ordinary `lightning fit` and `lightning test`; and the
table. What is finished is read from these runs, so the same command goes on after any interruption.

Large packages are imported inside the functions, so that help and error messages come at once.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dreamprvr.cli.compare_plan import (
    Plan,
    difference,
    make_plan,
    read_models,
    record_configurations,
)
from dreamprvr.cli.processes import PARENT
from dreamprvr.core.errors import UserError, check_range
from dreamprvr.core.files import plain_errors, write_text
from dreamprvr.core.locks import open_lock, take
from dreamprvr.core.stopping import Stopped, listening
from dreamprvr.core.text import load_json, one_line, shorten

if TYPE_CHECKING:
    from dreamprvr.evaluation.comparison import Cost, Run

MOST_SEEDS = 1000
RANKS = "test_ranks.csv"  # file in the folder of a run
COST = "cost.json"
BUSY = 1.5  # load of the machine above which the table tells of it


def compare_models(
    *, models: str, seeds: int = 3, name: str | None = None, fit_options: list[str]
) -> int:
    """Train and test several models with the same budget, and write one table.

    The table holds means and deviations over the seeds, paired differences to the first model with
    95 % intervals, and costs. It lies in runs/compare/NAME/ as comparison.md, .csv and .json. Give
    the same command again to go on after an interruption, or with more models or more seeds to add
    runs. The exit code is 1 if a run failed.

    Args:
        models: models between commas; the others are compared with the first one. Each is the name
            or class path of a model, or a configuration file, or several of these joined by +, so
            dreamprvr+addons/word_queries.yaml is DreamPRVR with an add-on. LABEL= before it gives
            another name in the table.
        seeds: number of seeds to train each model with, from seed_everything on.
        name: name of the comparison; by default that of the data set.
        fit_options: options of `fit` for all models: data set, epochs, and all others.
    """
    check_range("--seeds", seeds, 1, MOST_SEEDS, whole=True)
    entrants = read_models(models)
    with listening():
        plan = make_plan(entrants, name, fit_options)
        comparison = Comparison(plan, seeds)
        if not all(job.result() for job in comparison.jobs()):
            plan.refuse_missing_data()
        try:
            with comparison.locked():
                comparison.run()
        except Stopped as stop:
            stop.advice = "give the same command again to go on"
            raise
    return 1 if comparison.failed else 0


class Job(NamedTuple):
    """The training and test of one model with one seed.

    Attributes:
        label: label of the model.
        seed: seed of the training.
        folder: path of its folder.
        labels: whole path of the file of labels that it is tested by; None for the annotations.
    """

    label: str
    seed: int
    folder: Path
    labels: str | None = None

    def __str__(self) -> str:
        return f"{self.label}, seed {self.seed}"

    @property
    def runs(self) -> list[Path]:
        """Paths of the runs in the folder, the newest first; one that saved nothing may be left."""
        numbers = (path.name.removeprefix("version_") for path in self.folder.glob("version_*"))
        found = sorted((int(number) for number in numbers if number.isdecimal()), reverse=True)
        return [self.folder / f"version_{number}" for number in found]

    def resumable(self) -> Path | None:
        """Return the newest whole checkpoint of the training; None if it has to begin."""
        from dreamprvr.training.checkpoint import newest_whole, read_checkpoint

        for run in self.runs:
            last = run / "checkpoints" / "last.ckpt"
            with suppress(UserError):
                if last.is_file():
                    read_checkpoint(last)
                    return last
            if whole := newest_whole(last):
                return whole
        return None

    def trained(self) -> Path | None:
        """Return the checkpoint to test: the best, or the last one where none was chosen."""
        names = ("best.ckpt", "last.ckpt")
        paths = (run / "checkpoints" / name for run in self.runs for name in names)
        return next((path for path in paths if path.is_file()), None)

    def result(self) -> "Run | None":
        """Read the result of the test by its labels; None if there is none."""
        from dreamprvr.evaluation.comparison import Run, read_ranks
        from dreamprvr.evaluation.record import NAME

        if (checkpoint := self.trained()) is None:
            return None
        run = checkpoint.parent.parent
        name = checkpoint.relative_to(run).as_posix()
        with suppress(UserError, KeyError, TypeError):  # missing, or damaged: it is tested again
            for entry in reversed(load_json(run / NAME)["results"]):
                found = entry["split"], entry["checkpoint"], entry["seed"], entry.get("labels_file")
                if found == ("test", name, self.seed, self.labels):
                    metrics = {k: v for k, v in entry.items() if isinstance(v, float)}
                    return Run(self.seed, metrics, read_ranks(run / RANKS))
        return None


class Comparison:
    """A comparison at work.

    Args:
        plan: folder and configurations.
        seeds: number of seeds.

    Attributes:
        failed: why a run failed, by the run.
    """

    def __init__(self, plan: Plan, seeds: int) -> None:
        self.folder, self.configurations = plan.folder, plan.configurations
        self.seeds = range(plan.first_seed, plan.first_seed + seeds)
        self.failed: dict[Job, str] = {}
        self.results: dict[str, list[Run]] = {label: [] for label in self.configurations}
        self.costs: dict[str, Cost] = {}
        self.machine: dict[str, Any] = {}
        self._seconds: dict[str, list[float]] = {}  # of the runs of this command, by label
        self._lock = -1

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process and the runs that it starts, and write what they need.

        Raises:
            UserError: another process holds it, or it holds runs of other settings.
        """
        with plain_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = open_lock(self.folder, ".lock")
        try:
            if not take(self._lock, exclusive=True):
                raise UserError(
                    f"{self.folder}: another `lightning compare` is at work there, or a run that "
                    "it started is still ending: wait"
                )
            record_configurations(self.folder, self.configurations)
            yield
        finally:
            os.close(self._lock)

    def run(self) -> None:
        """Train and test what is not finished; write and print the table after each run."""
        jobs = self.jobs()
        waiting = [job for job in jobs if not self._take(job)]
        done = len(jobs) - len(waiting)
        print(f"{self.folder}: {len(jobs)} runs, {done} of them finished", flush=True)
        self._measure()
        if not waiting:
            self._report(0)
        for place, job in enumerate(waiting):
            left = time_left([one.label for one in waiting[place:]], self._seconds)
            print(f"\nrun {done + place + 1} of {len(jobs)}: {job}{left}", flush=True)
            start = time.monotonic()
            if reason := self._train_and_test(job):
                self.failed[job] = shorten(reason, 300)
                print(f"failed: {job}: {reason}", file=sys.stderr)
            else:
                self._seconds.setdefault(job.label, []).append(time.monotonic() - start)
            self._report(len(waiting) - place - 1)

    def jobs(self) -> list[Job]:
        """List all trainings, the first seed of every model first."""
        return [
            Job(label, seed, self.folder / f"{label}_seed{seed}", self._labels(label))
            for seed in self.seeds
            for label in self.configurations
        ]

    def _labels(self, label: str) -> str | None:
        """Return the whole path of the file of labels of a model's data, as results record it."""
        from dreamprvr.evaluation.record import recorded_path

        data = self.configurations[label]["data"]
        return recorded_path(data.get("init_args", {}).get("labels"))

    def _take(self, job: Job) -> bool:
        """Add the result of a run; return False if it is not finished."""
        result = job.result()
        if result is not None:
            self.results[job.label].append(result)
        return result is not None

    def _train_and_test(self, job: Job) -> str:
        """Train and test, or go on with it; return why it failed, or nothing."""
        options = ["--config", str(self.folder / f"{job.label}.yaml"), "--seed_everything",
                   str(job.seed), "--trainer.default_root_dir", str(job.folder)]  # fmt: skip
        last = job.resumable()
        resume = ["--ckpt_path", str(last)] if last else []
        if reason := self._call("dreamprvr", "fit", *options, *resume):
            return reason
        if (checkpoint := job.trained()) is None:
            return "its training kept no checkpoint"
        ranks = checkpoint.parent.parent / RANKS
        test = ["--ckpt_path", str(checkpoint), "--ranks", str(ranks)]
        if reason := self._call("dreamprvr", "test", *options, *test):
            return reason
        return "" if self._take(job) else "its test recorded no result of the whole split"

    def _call(self, module: str, *words: str) -> str:
        """Run a module of Python as a process; return why it failed, or nothing.

        It is in a process group of its own: this process hands signals on, since a second one,
        from the terminal, would end a training before it has saved. The lock goes with it, since
        it goes on for a moment if this process is killed.
        """
        folders = os.pathsep.join(filter(None, sys.path))
        environment = os.environ | {PARENT: str(os.getpid()), "PYTHONPATH": folders}
        apart: dict[str, Any] = {"process_group": 0, "pass_fds": [self._lock]}
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", module, *words], env=environment, text=True,
            errors="replace", stderr=subprocess.PIPE, **(apart if os.name != "nt" else {}),
        )  # fmt: skip
        assert child.stderr is not None
        said = ""
        try:
            for line in child.stderr:
                print(line, end="", file=sys.stderr, flush=True)
                said = line.strip() or said
        except BaseException as error:
            child.send_signal(getattr(error, "number", signal.SIGTERM))
            child.stderr.read()
            raise
        finally:
            code = child.wait()
            child.stderr.close()
        if code < 0:  # the system's, as where memory runs out
            return f"it was ended by {signal.Signals(-code).name}"
        return "" if code == 0 else said.removeprefix("error: ") or f"it ended with code {code}"

    def _measure(self) -> None:
        """Measure the cost of all models in turn, unless that was done already."""
        labels = list(self.configurations)
        if self._read_costs():
            return
        print(f"measuring the cost of {', '.join(labels)}", flush=True)
        if reason := self._call("dreamprvr.cli.cost", str(self.folder), *labels):
            print(f"the cost was not measured: {reason}", file=sys.stderr)
        self._read_costs()

    def _read_costs(self) -> bool:
        """Read the costs; return False if those of a model are not there."""
        from dreamprvr.evaluation.comparison import Cost

        with suppress(UserError, KeyError, TypeError):
            saved = load_json(self.folder / COST)
            self.costs = {name: Cost(**saved["models"][name]) for name in self.configurations}
            self.machine = saved["machine"]
            return True
        return False

    def _report(self, left: int) -> None:
        """Write the table of all finished runs to the folder, and print it.

        Args:
            left: number of runs that are to come.
        """
        from dreamprvr.evaluation.comparison import csv_text, json_text, markdown, summary

        rows = summary(self.results, self.costs)
        remarks = self._remarks(left)
        failed = [
            {"model": job.label, "seed": job.seed, "reason": reason}
            for job, reason in self.failed.items()
        ]
        runs = [
            {"model": label, "seed": run.seed, "metrics": dict(run.metrics)}
            for label, results in self.results.items()
            for run in results
        ]
        texts = {
            "csv": csv_text(rows),
            "json": json_text(rows, runs=runs, failed=failed, to_come=left, machine=self.machine),
            "md": markdown(rows, remarks),
        }
        for ending, text in texts.items():
            write_text(self.folder / f"comparison.{ending}", text, self.folder)
        print(
            f"\n{texts['md']}\nwritten to {self.folder}/comparison.md, .csv and .json", flush=True
        )

    def _remarks(self, left: int) -> list[str]:
        """List what a reader of the table has to know."""
        from dreamprvr.evaluation.comparison import LEVEL

        reference, *others = self.configurations
        first = self.configurations[reference]
        data, epochs = first["data"], first["trainer"]["max_epochs"]
        labels = self._labels(reference)
        by = f"; labels: {one_line(Path(labels).name)}" if labels else ""
        several = f"Means ± sample deviations over the seeds {', '.join(map(str, self.seeds))}. "
        remarks = [
            f"{several if len(self.seeds) > 1 else f'Seed {self.seeds[0]}. '}Differences are "
            f"paired by query; * marks a {LEVEL} % interval without 0 (docs/protocol.md, Comparing "
            "models).",
            f"Data: {data['class_path'].rpartition('.')[2]}{by}; epochs at most: {epochs}.",
        ]
        for label in others:
            if changed := difference(self.configurations[label]["data"], data, "data"):
                remarks.append(f"{label} was trained with {changed} as for {reference}.")
        if self.machine:
            threads = self.machine["threads"]
            several = "threads" if threads > 1 else "thread"
            device = self.machine["gpu"] or f"{threads} {several} of a processor"
            load = self.machine.get("load") or 0
            busy = f", beside other work (load {load:.1f})" if load > BUSY else ""
            remarks.append(f"Costs: medians, measured in turn on {device}{busy}.")
        remarks += [f"Failed: {job}: {reason}." for job, reason in self.failed.items()]
        return remarks + ([f"Runs to come: {left}."] if left else [])


def time_left(waiting: Sequence[str], known: Mapping[str, Sequence[float]]) -> str:
    """Say how long runs will take, by those that were finished before; nothing if none was.

    Args:
        waiting: labels of the runs.
        known: seconds of finished runs, by label.
    """
    every = [seconds for runs in known.values() for seconds in runs]
    if not every:
        return ""
    of_each = [known.get(label, every) for label in waiting]
    minutes = round(sum(sum(seconds) / len(seconds) for seconds in of_each) / 60)
    hours, minutes = divmod(minutes, 60)
    return f"; about {f'{hours} h ' if hours else ''}{minutes} min left"
