import errno
import os
import subprocess
import sys
from importlib.metadata import distribution

import pytest
from cli.running import run

from dreamprvr.cli import main as program
from dreamprvr.cli.verbs import VERBS
from dreamprvr.core.errors import UserError


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"]])
def test_help_lists_all_verbs(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.code == 0
    for verb in (*program.TRAINER_VERBS, *VERBS):
        assert verb in result.out


@pytest.mark.parametrize("verb", sorted({*program.TRAINER_VERBS, *VERBS}))
def test_every_verb_has_help(verb: str) -> None:
    result = run(*verb.split(), "--help")
    assert result.code == 0
    assert "usage: " in result.out


def test_ctrl_c_is_130_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(program, "_trainer_verb", stop)
    assert run("fit") == (130, "", "interrupted\n")


def test_a_mistake_that_a_library_wraps_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        try:
            raise UserError("first\n  second")
        except UserError as error:
            raise RuntimeError("wrapped") from error

    monkeypatch.setattr(program, "_trainer_verb", fail)
    assert run("fit") == (2, "", "error: first second\n")


@pytest.mark.parametrize("name", ["metrics.csv", None])
def test_a_full_disk_is_one_line(name: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", name)

    monkeypatch.setattr(program, "_trainer_verb", fail)
    place = name or "the run's folder"
    expected = f"error: {place}: No space left on device; make room there, then run again\n"
    assert run("fit") == (2, "", expected)


def test_another_error_of_the_system_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(program, "_trainer_verb", fail)
    with pytest.raises(OSError, match="Input/output"):
        run("fit")


def test_a_bug_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(program, "_trainer_verb", fail)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        run("fit")


def test_both_scripts_are_the_same_function() -> None:
    points = distribution("dreamprvr").entry_points.select(group="console_scripts")
    assert {point.name for point in points} == {"lightning", "dreamprvr"}
    assert all(point.load() is program.main for point in points)


def test_as_a_module() -> None:
    command = [sys.executable, "-m", "dreamprvr", "--help"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, program.USAGE)


# What the program prints to: terminals of any encoding, and pipes that are closed early.


def shell(verb: str, output: int, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    """Run a program that has `verb` as its verb x."""
    code = f"""
import sys
from dreamprvr.cli import main, verbs
def x() -> int:
    {verb}
verbs.VERBS["x"] = x
sys.argv = ["lightning", "x"]
main.main()
"""
    return subprocess.run(
        [sys.executable, "-c", code], stdout=output, stderr=subprocess.PIPE, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip


@pytest.fixture
def closed() -> int:
    """A pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


LINES = ["print('few'); return 0", "print(*range(100_000)); return 0", "print('help'); sys.exit(0)"]


@pytest.mark.parametrize("verb", LINES)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_closed_pipe_ends_the_command_quietly(verb: str, unbuffered: str, closed: int) -> None:
    result = shell(verb, closed, PYTHONUNBUFFERED=unbuffered)
    assert (result.returncode, result.stderr) == (program.CLOSED, b"")


def test_another_pipe_that_breaks_is_a_bug() -> None:
    result = shell("raise BrokenPipeError('a worker')", subprocess.PIPE)
    assert result.returncode == 1
    assert b"BrokenPipeError: a worker" in result.stderr


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [("ascii", b"\\xe4 \\u2603 \\udcff\n"), ("utf-8", "ä ☃ \\udcff\n".encode())],
)
def test_an_encoding_that_lacks_a_letter(encoding: str, printed: bytes) -> None:
    verb = r"print('\xe4 \u2603 \udcff'); return 3"
    result = shell(verb, subprocess.PIPE, PYTHONIOENCODING=encoding)
    assert (result.returncode, result.stdout) == (3, printed)


def test_an_output_that_cannot_be_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", object())
    program._print_anything()
