"""Several processes compute what one computes, and all end when one fails or gets a signal."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from cli.outcomes import differences, losses, read_lines, state
from cli.running import Result, Tiny, launch, run, with_callback, write_config
from labels import write_labels

from data_modules.testing import write_tiny
from dreamprvr.cli import processes
from dreamprvr.evaluation.metrics import COLUMNS, SEVERAL

TERM, INT, KILL = signal.SIGTERM, signal.SIGINT, signal.SIGKILL
MOST = 30  # seconds from a failure of one process to the end of all
VIDEOS = 18
CONFIG = ("--config", "tiny.yaml")


def several(ranks: int = 2) -> tuple[str, ...]:
    return "--trainer.devices", str(ranks), "--trainer.strategy", "ddp"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that two processes have trained, started as a user does."""
    folder = tmp_path_factory.mktemp("whole")
    # odd numbers, so that one process has less to do; R@1, R@5 and R@10 are not 100 by themselves
    write_tiny(Tiny, folder / "data", train=VIDEOS + 1, val=33)
    write_config(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        fitted = launch("fit", *CONFIG, *several(), anew=True)
    assert fitted.code == 0, fitted
    assert "distributed_backend=gloo" in fitted.err
    assert "warn" not in fitted.err.lower()
    assert "recommended" not in fitted.err
    runs = folder / "runs"
    assert [path.name for path in runs.iterdir()] == ["version_0"]
    return runs / "version_0"


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A working directory with the data and the configuration of that run."""
    (tmp_path / "data").symlink_to(whole.parents[1] / "data")
    return write_config(tmp_path).parent


# They compute what one computes


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("ranks", "each"), [(2, 3), (3, 2), (4, 1)])
def test_several_processes_train_as_one(ranks: int, each: int) -> None:
    # what draws random numbers, of which each process has its own: dropout, registers, negatives
    names = ("dropout", "input_dropout", "num_registers")
    still = [f"--model.network.{name}=0" for name in names]
    hard = ("--model.objective.hard_negatives_from=0", "--model.objective.hard_pool=1")
    steps = str(VIDEOS // (each * ranks))  # batches of one size
    same = ("fit", *CONFIG, *still, *hard, "--trainer.max_epochs=3", "--trainer.accelerator=cpu")
    alone = run(
        *same, f"--data.batch_size={each * ranks}", f"--trainer.limit_train_batches={steps}"
    )
    assert alone.code == 0, alone
    assert launch(*same, *several(ranks), f"--data.batch_size={each}").code == 0
    folders = [Path(f"runs/version_{n}") for n in range(2)]
    one, together = map(losses, folders)
    assert len(one) == len(together) > 9
    assert (one - together).abs().max().max() < 1e-4
    ours, theirs = (state(folder / "checkpoints" / "last.ckpt") for folder in folders)
    assert max((ours[name] - theirs[name]).abs().max() for name in ours) < 1e-4


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
def test_two_processes_log_and_evaluate_as_one_does(whole: Path) -> None:
    table = pd.read_csv(whole / "metrics.csv")
    logged = table.dropna(subset=["val/SumR"])
    assert logged["epoch"].tolist() == [0, 1]
    loss = table["loss"].dropna()
    assert len(loss) == 2 * VIDEOS // 6
    assert np.isfinite(loss).all()

    checkpoint = ("--ckpt_path", whole / "checkpoints" / "last.ckpt")
    alone = results(run("validate", *CONFIG, *checkpoint), whole)
    last = logged.iloc[-1]
    assert {name: last[f"val/{name}"] for name in alone} == alone
    assert 0 < alone["SumR"] < 300
    # val and test are the same files
    assert results(launch("test", *CONFIG, *several(), *checkpoint), whole) == alone


def results(result: Result, folder: Path, names: tuple[str, ...] = COLUMNS) -> dict[str, float]:
    assert result.code == 0, result
    (entry,) = json.loads((folder / "metrics.json").read_text())["results"]
    (folder / "metrics.json").unlink()  # the next command writes its own
    return {name: entry[name] for name in names}


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
def test_two_processes_evaluate_several_true_videos_as_one_does(whole: Path) -> None:
    table = Tiny("data").annotations("test")
    write_labels(Path("dense.jsonl"), table, leave_out=len(table.queries) // 2)
    checkpoint = ("--ckpt_path", whole / "checkpoints" / "last.ckpt")
    labelled, every = (*CONFIG, *checkpoint, "--data.labels=dense.jsonl"), (*COLUMNS, *SEVERAL)
    both = launch("test", *labelled, *several())
    assert both.out.count("labels of dense.jsonl: ") == 1
    assert both.err.count("warning: labels of dense.jsonl: ") == 1
    found = results(both, whole, every)
    assert found == pytest.approx(results(run("test", *labelled), whole, every), rel=1e-5)
    # batches of one query, so that the processes have different numbers of true videos
    predict = ("predict", *labelled, "--data.query_batch_size=1", "--output")
    assert launch(*predict, "two.jsonl", *several()).code == 0
    assert run(*predict, "one.jsonl").code == 0
    one, two = read_lines(Path("one.jsonl")), read_lines(Path("two.jsonl"))
    assert [line["ranks"] for line in one] == [line["ranks"] for line in two]
    assert {len(line["ranks"] or ()) for line in one} == {0, 1, 2, 3}


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
def test_two_processes_predict_each_query_once_in_order(whole: Path) -> None:
    """Odd numbers of videos and queries, in batches that do not fit either."""
    command = ("predict", *CONFIG, "--ckpt_path", whole / "checkpoints" / "last.ckpt")
    both = launch(*command, *several(), "--output", "two.jsonl", "--top_k", "5")
    assert both.code == 0, both
    assert both.out.count("written to") == 1
    alone = run(*command, "--output", "one.jsonl", "--top_k", "5")
    assert alone.code == 0, alone
    one, two = read_lines(Path("one.jsonl")), read_lines(Path("two.jsonl"))
    assert len(one) == len(two) == len(Tiny("data").annotations("test").queries)
    for ours, theirs in zip(one, two, strict=True):
        assert ours["query_id"] == theirs["query_id"]
        assert ours["rank"] == theirs["rank"]
        for hit, other in zip(ours["hits"], theirs["hits"], strict=True):
            assert hit["video_id"] == other["video_id"]
            assert hit["score"] == pytest.approx(other["score"], abs=1e-5)


# When one fails or is told to stop, all end


def ended(result: Result, code: int, line: str, seconds: float) -> None:
    """All processes have ended soon, with one line."""
    assert result.code == code, result
    said = [x for x in result.err.splitlines() if x.startswith(("error", "stopped", "interrupted"))]
    assert len(said) == 1, result.err
    assert line in said[0]
    assert "Traceback" not in result.out + result.err
    print(f"all ended after {seconds:.1f} s: {said[0]}")
    assert seconds < MOST


def since_failure() -> float:
    """Return the seconds since a process of the run failed or got a signal."""
    return time.time() - float(Path("failed-at.txt").read_text())


def fail(kind: str, moment: str, rank: int) -> tuple[str, dict[str, Any]]:
    return "Fail", {"kind": kind, "moment": moment, "rank": rank}


FAILURES: dict[str, tuple[tuple[str, dict[str, Any]], int, str]] = {
    "a mistake on the second": (
        fail("user", "on_train_batch_end", 1), 2, "rank 1 has met a mistake"
    ),
    "a mistake on the first": (
        fail("user", "on_train_batch_start", 0), 2, "rank 0 has met a mistake"
    ),
    "in a validation": (fail("user", "on_validation_batch_end", 1), 2, "rank 1 has met a mistake"),
    "a full disk": (
        fail("disk", "on_save_checkpoint", 0), 2, "No space left on device; make room there"
    ),
    "killed": (
        ("SendSignal", {"number": int(KILL), "moment": "on_train_batch_end", "rank": 1}),
        137, "process 1 of the run was ended by SIGKILL",
    ),
    "Ctrl-C": (
        ("SendSignal", {"number": int(INT), "moment": "on_train_batch_end", "rank": 0}),
        130, "interrupted: resume with --ckpt_path",
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("case", FAILURES)
def test_all_end_when_one_fails(case: str) -> None:
    (name, arguments), code, line = FAILURES[case]
    result = launch("fit", *CONFIG, *several(), *with_callback(name, **arguments))
    ended(result, code, line, since_failure())


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.usefixtures("folder")
def test_a_bug_on_one_process_shows_one_traceback(rank: int) -> None:
    bug = with_callback("Fail", kind="bug", moment="on_train_batch_end", rank=rank)
    result = launch("fit", *CONFIG, *several(), *bug)
    assert since_failure() < MOST
    assert result.code == 1, result
    assert result.err.count("Traceback") == 1
    assert f"ZeroDivisionError: a bug on rank {rank}" in result.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--data.root", "nowhere"), "missing captions: nowhere/tiny/TextData/tinytrain.caption"),
        (("--data.batch_size", "10"), "data.batch_size is 10 on each of 2 processes, but there"),
    ],
)
def test_all_end_when_data_are_missing_or_too_few(
    folder: Path, options: tuple[str, ...], line: str
) -> None:
    launch("--help")  # so that the imports are done
    begin = time.time()
    ended(launch("fit", *CONFIG, *several(), *options), 2, line, time.time() - begin)
    assert not (folder / "runs" / "version_0" / "checkpoints").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
def test_a_signal_to_one_process_stops_all_and_they_resume_identically(whole: Path) -> None:
    last = Path("runs/version_0/checkpoints/last.ckpt")
    stop = {"number": int(TERM), "moment": "on_train_batch_end", "count": 4, "rank": 1}
    result = launch("fit", *CONFIG, *several(), *with_callback("SendSignal", **stop))
    ended(result, 143, f"stopped by SIGTERM: resume with --ckpt_path {last}", since_failure())
    assert launch("fit", *CONFIG, *several(), "--ckpt_path", last).code == 0
    # with dropout, which differs between the processes
    assert differences(whole / "checkpoints" / "last.ckpt", last) == []


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
def test_a_signal_under_torchrun_stops_all() -> None:
    """It has an exit code and words of its own."""
    torchrun = ("-m", "torch.distributed.run", "--nproc_per_node", "2", "-m", "dreamprvr")
    stop = {"number": int(TERM), "moment": "on_train_batch_end", "count": 4, "rank": 1}
    stopped = launch(
        "fit", *CONFIG, *several(), *with_callback("SendSignal", **stop), program=torchrun
    )
    assert since_failure() < MOST
    assert stopped.code != 0
    assert stopped.err.count("resume with --ckpt_path") == 1, stopped.err
    last = torch.load("runs/version_0/checkpoints/last.ckpt", weights_only=True)
    assert last["global_step"] == 5


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
def test_predictions_that_the_first_cannot_write_end_all(whole: Path) -> None:
    Path("folder.jsonl").mkdir()
    command = ("predict", *CONFIG, "--ckpt_path", whole / "checkpoints" / "last.ckpt")
    begin = time.time()
    result = launch(*command, *several(), "--output", "folder.jsonl")
    ended(result, 2, "folder.jsonl is a folder", time.time() - begin)


# The parts by themselves


def test_the_first_process_is_known_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in processes.RANKS:
        monkeypatch.delenv(name, raising=False)
    assert processes.is_first()
    for name in processes.RANKS:
        monkeypatch.setenv(name, "0")
    assert processes.is_first()
    monkeypatch.setenv("RANK", "3")
    assert not processes.is_first()


def children(*codes: int) -> list[subprocess.Popen[bytes]]:
    """Processes that end with these codes; a negative one waits for that signal."""
    program = "import sys,time; c=int(sys.argv[1]); sys.exit(c) if c >= 0 else time.sleep(60)"
    return [subprocess.Popen([sys.executable, "-c", program, str(code)]) for code in codes]


def test_the_exit_code_of_a_process_that_failed(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        processes._children[:] = children(0, 3)
        assert processes.failed_process(30) == 3
        assert capsys.readouterr().err == ""
        processes._children[:] = children(-9)
        assert processes.failed_process() == 0
        os.kill(processes._children[0].pid, KILL)
        assert processes.failed_process(30) == 137
        assert capsys.readouterr().err == "error: process 1 of the run was ended by SIGKILL\n"
    finally:
        processes.end_others(1)


def test_a_failure_ends_the_others_and_success_waits_for_them() -> None:
    waiting = processes._children[:] = children(-9, -9)
    assert processes.end_others(2) == 2
    assert [child.poll() for child in waiting] == [-9, -9]
    processes._children[:] = children(0, 5)
    assert processes.end_others(0) == 5
    assert processes.end_others(0) == 0


def test_a_run_of_a_comparison_that_is_gone_is_told_to_stop() -> None:
    """The number of the parent is that of a process that has ended; children do not get it."""
    program = f"""
import os, signal, sys, time
from dreamprvr.cli.processes import PARENT, follow_parent
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
os.environ[PARENT] = sys.argv[1]
follow_parent()
assert PARENT not in os.environ
time.sleep({MOST})
"""
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    words = [sys.executable, "-c", program]
    assert subprocess.run([*words, gone.stdout.strip()], check=False).returncode == 7
    process = subprocess.Popen([*words, str(os.getpid())])
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(2)
    process.kill()
    process.wait()
