"""When one of several processes fails or is told to stop, all end, with one line, in seconds."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli.outcomes import differences, losses, state
from cli.running import Result, Tiny, launch, with_callback, write_config

from data_modules.testing import write_tiny
from dreamprvr.cli import processes

TERM, INT, KILL = signal.SIGTERM, signal.SIGINT, signal.SIGKILL
SECONDS = 300  # most of them for the start of several processes on a busy machine


@pytest.fixture
def config(tmp_path: Path) -> tuple[str | Path, ...]:
    write_tiny(Tiny, tmp_path / "data", train=18, val=4)
    return "--config", write_config(tmp_path)


def several(ranks: int = 2) -> tuple[str, ...]:
    return "--trainer.devices", str(ranks), "--trainer.strategy", "ddp"


def ended(result: Result, code: int, line: str) -> None:
    """All processes have ended with one line."""
    assert result.code == code, result
    said = [x for x in result.err.splitlines() if x.startswith(("error", "stopped", "interrupted"))]
    assert len(said) == 1, result.err
    assert line in said[0]
    assert "Traceback" not in result.out + result.err
    left = subprocess.run(
        ["pgrep", "-f", str(Path.cwd())], capture_output=True, text=True, check=False
    )
    assert left.stdout == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "moment", "rank", "line"),
    [
        ("user", "on_train_batch_end", 1, "rank 1 has met a mistake"),
        ("user", "on_train_batch_start", 0, "rank 0 has met a mistake"),
        ("user", "on_validation_batch_end", 1, "rank 1 has met a mistake"),
        ("disk", "on_save_checkpoint", 0, "No space left on device; make room there"),
    ],
)
def test_a_mistake_on_one_process(
    config: tuple[str, ...], kind: str, moment: str, rank: int, line: str
) -> None:
    fail = with_callback("Fail", kind=kind, moment=moment, rank=rank)
    begin = time.monotonic()
    ended(launch("fit", *config, *several(), *fail), 2, line)
    assert time.monotonic() - begin < SECONDS


@pytest.mark.slow
def test_missing_data(config: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "data" / "tiny" / "TextData" / "text.hdf5").unlink()
    begin = time.monotonic()
    ended(launch("fit", *config, *several()), 2, "text.hdf5")
    assert time.monotonic() - begin < SECONDS


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_bug_on_one_process_shows_one_traceback(config: tuple[str, ...], rank: int) -> None:
    fail = with_callback("Fail", kind="bug", moment="on_train_batch_end", rank=rank)
    result = launch("fit", *config, *several(), *fail)
    assert result.code == 1, result
    assert result.err.count("Traceback") == 1
    assert f"ZeroDivisionError: a bug on rank {rank}" in result.err


@pytest.mark.slow
def test_a_process_that_is_killed(config: tuple[str, ...]) -> None:
    send = with_callback("SendSignal", number=int(KILL), moment="on_train_batch_end", rank=1)
    ended(
        launch("fit", *config, *several(), *send), 137, "process 1 of the run was ended by SIGKILL"
    )


@pytest.mark.slow
def test_a_batch_that_is_larger_than_a_share(config: tuple[str, ...]) -> None:
    result = launch("fit", *config, *several(), "--data.batch_size", "10")
    ended(result, 2, "data.batch_size is 10 on each of 2 processes, but there are only 18")
    assert not Path("runs/version_0/checkpoints").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "rank"), [(TERM, 1), (INT, 0)])
@pytest.mark.parametrize("starter", ["lightning", "torchrun"])
def test_a_signal_to_one_process_stops_all_and_they_resume_identically(
    config: tuple[str, ...], number: int, rank: int, starter: str
) -> None:
    torchrun = ("-m", "torch.distributed.run", "--nproc_per_node", "2", "-m", "dreamprvr")
    program = torchrun if starter == "torchrun" else ()
    assert launch("fit", *config, *several(), program=program).code == 0
    send = with_callback(
        "SendSignal", number=int(number), moment="on_train_batch_end", count=4, rank=rank
    )
    stopped = launch("fit", *config, *several(), *send, program=program)
    last = [Path(f"runs/version_{n}/checkpoints/last.ckpt") for n in range(2)]
    if starter == "lightning":
        ended(stopped, 128 + number, f"version_1/{last[1].relative_to('runs/version_1')}")
    else:  # torchrun has an exit code and words of its own
        assert stopped.code != 0
        assert stopped.err.count("resume with --ckpt_path") == 1, stopped.err
    assert launch("fit", *config, *several(), "--ckpt_path", last[1], program=program).code == 0
    assert differences(*last) == []  # with dropout, which differs between the processes


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_several_processes_train_as_one(config: tuple[str, ...], ranks: int) -> None:
    # what draws random numbers, of which each process has its own: dropout, registers, negatives
    names = ("dropout", "input_dropout", "num_registers")
    still = [f"--model.network.{name}=0" for name in names]
    hard = ("--model.objective.hard_negatives_from=0", "--model.objective.hard_pool=1")
    each = {2: 3, 3: 2, 4: 1}[ranks]
    whole = str(18 // (each * ranks))  # batches, all of one size
    same = ("fit", *config, *still, *hard, "--trainer.max_epochs=3")
    alone = launch(
        *same, f"--data.batch_size={each * ranks}", f"--trainer.limit_train_batches={whole}"
    )
    assert alone.code == 0, alone
    assert launch(*same, *several(ranks), f"--data.batch_size={each}").code == 0
    folders = [Path(f"runs/version_{n}") for n in range(2)]
    one, together = map(losses, folders)
    assert len(one) == len(together) > 9
    assert (one - together).abs().max().max() < 1e-4
    ours, theirs = (state(folder / "checkpoints" / "last.ckpt") for folder in folders)
    assert max((ours[name] - theirs[name]).abs().max() for name in ours) < 1e-4


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
