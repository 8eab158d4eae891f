"""Runs the command line in process, on tiny data sets."""

import errno
import os
import subprocess
import sys
import time
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from cli.forks import MAIN, Command
from lightning import Callback, LightningModule, Trainer

from data_modules.base import FeatureSet, PRVRDataModule
from data_modules.readers.tables import Annotations
from data_modules.testing import write_tiny
from dreamprvr.cli.main import main
from dreamprvr.core.errors import UserError

DATA = "cli.running.Tiny"
GOLDEN = "cli.running.Golden"


class Tiny(PRVRDataModule):
    """A few videos; the duration of the first is not known, the others are 10, 20, ... s long."""

    collection = "tiny"
    feature_sets = {"standard": FeatureSet("FeatureData/tiny", "TextData/text.hdf5", 6, 5)}

    def read_annotations(self, split: str) -> Annotations:
        table = super().read_annotations(split)
        durations = [float("nan"), *(10.0 * i for i in range(1, len(table.videos)))]
        return Annotations(table.videos.assign(duration=durations), table.queries)


class Golden(Tiny):
    """The feature sizes of the published file among the references."""

    feature_sets = {"standard": FeatureSet("FeatureData/golden", "TextData/golden.hdf5", 24, 20)}


class Interrupt(Callback):
    """Ctrl-C when the second epoch starts."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == 1:
            raise KeyboardInterrupt


class SendSignal(Callback):
    """Sends this process a signal at a moment of the training.

    Args:
        number: number of the signal.
        moment: name of a hook of Lightning's callbacks.
        count: how often the moment comes before, on this rank.
        rank: the process that is sent the signal.
    """

    def __init__(self, number: int, moment: str, count: int = 0, rank: int = 0) -> None:
        self.number = number
        self.left = count
        self.rank = rank
        setattr(self, moment, self._moment)

    def _moment(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        self.left -= 1
        if self.left == -1 and trainer.global_rank == self.rank:
            note_time()
            os.kill(os.getpid(), self.number)


def note_time() -> None:
    """Write down the time at which a process failed or got a signal."""
    Path("failed-at.txt").write_text(str(time.time()))


class Fail(SendSignal):
    """Raises an error at a moment of the training.

    Args:
        kind: `user` for a mistake of the user's, `disk` for a full disk, else a bug.
        moment, count, rank: as of `SendSignal`.
    """

    def __init__(self, kind: str, moment: str, count: int = 0, rank: int = 0) -> None:
        super().__init__(0, moment, count, rank)
        self.kind = kind

    def _moment(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        self.left -= 1
        if self.left == -1 and trainer.global_rank == self.rank:
            note_time()
            if self.kind == "user":
                raise UserError(f"rank {self.rank} has met a mistake")
            if self.kind == "disk":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs")
            raise ZeroDivisionError(f"a bug on rank {self.rank}")


class SendTwice(SendSignal):
    """Sends the signal twice."""

    def _moment(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        super()._moment(trainer)
        self.left = 0
        super()._moment(trainer)


class InterruptEvaluation(Callback):
    """Ctrl-C after the last batch of captions, before the result is computed."""

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        raise KeyboardInterrupt

    on_validation_epoch_end = on_test_epoch_end


class Result(NamedTuple):
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


def run(*arguments: str | Path) -> Result:
    """Run `lightning ARGUMENTS` in the working directory."""
    out, err = StringIO(), StringIO()
    code: Any = 0
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setattr(sys, "argv", ["lightning", *map(str, arguments)])
        stack.enter_context(redirect_stdout(out))
        stack.enter_context(redirect_stderr(err))
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    return Result(code, out.getvalue(), err.getvalue())


def launch(*arguments: str | Path, program: tuple[str, ...] = (), anew: bool = False) -> Result:
    """Run `lightning ARGUMENTS` as a process of its own.

    Args:
        arguments: arguments of the program.
        program: takes the place of `lightning`: arguments of Python, which is started anew.
        anew: start the installed script, as a user does, rather than a copy of a process that has
            imported everything, which is much faster.
    """
    if not program and not anew:
        code, out, err, left = start(*arguments).wait()
        assert not left, "a process of the command was left"
        return Result(code, out, err)
    # the installed script, which strategies of several processes start again by its path
    script = [str(Path(sys.executable).with_name("lightning"))]
    command = [sys.executable, *program] if program else script
    done = subprocess.run(
        [*command, *map(str, arguments)], env={**os.environ, **_environment()},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    return Result(done.returncode, done.stdout, done.stderr)


def start(*arguments: str | Path, module: str = MAIN) -> Command:
    """Start `lightning ARGUMENTS` as a fork of a process that has imported everything."""
    return Command([*map(str, arguments)], _environment(), module)


def _environment() -> dict[str, str]:
    tests = Path(__file__).parents[1]
    # the project first: `tests/data_modules/` must not stand for the package of that name
    folders = [str(tests.parent), str(tests), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(folders), "OMP_NUM_THREADS": "1"}


def with_callback(name: str, **arguments: Any) -> tuple[str, str]:
    """Return the options that add a callback of this module to a run."""
    entry = {"class_path": f"cli.running.{name}", "init_args": arguments}
    path = Path(f"{name}.yaml")
    path.write_text(yaml.safe_dump({"trainer": {"callbacks": [entry]}}))
    return "--config", str(path)


def refused(*arguments: str | Path) -> str:
    """Run a command that must refuse its arguments, and return its one line of error."""
    result = run(*arguments)
    assert result.code == 2, result
    lines = result.err.strip().splitlines()
    assert len(lines) == 1, result.err
    assert lines[0].startswith("error: ")
    assert "Traceback" not in result.out + result.err
    return lines[0].removeprefix("error: ")


def write_config(
    folder: Path, dataset: type[PRVRDataModule] = Tiny, epochs: int = 2, **network: Any
) -> Path:
    """Write a tiny data set into `folder/data`, and a configuration that trains on it."""
    if not (folder / "data" / dataset.collection).exists():
        write_tiny(dataset, folder / "data", train=7, val=4)
    config = {
        "data": {
            "class_path": f"cli.running.{dataset.__name__}",
            "init_args": {
                "root": os.fspath(folder / "data"), "batch_size": 3, "eval_batch_size": 3,
                "query_batch_size": 4, "num_workers": 0,
            },
        },
        "model": {
            "init_args": {
                "network": {
                    "hidden_size": 8, "num_heads": 2, "max_frames": 8, "num_clips": 4,
                    "diffusion_steps": 2, "gaussian_widths": [1.0], **network,
                },
            },
        },
        "trainer": {
            "accelerator": "cpu", "max_epochs": epochs, "enable_progress_bar": False,
            "log_every_n_steps": 1, "enable_model_summary": False, "default_root_dir": "runs",
        },
    }  # fmt: skip
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def settings(*words: str | Path) -> dict[str, Any]:
    """The configuration that a command line of `fit` leads to."""
    result = run("fit", *words, "--print_config")
    assert result.code == 0, result
    return yaml.safe_load(result.out)
