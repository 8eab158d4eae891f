import errno
import subprocess
import sys
from importlib.metadata import distribution

import pytest
from cli.running import refused, run

from dreamprvr.cli import main as program
from dreamprvr.cli.light_verbs import VERBS
from dreamprvr.core.errors import UserError


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"]])
def test_help_lists_all_verbs(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.code == 0
    for verb in (*program.TRAINER_VERBS, *VERBS):
        assert verb in result.out


@pytest.mark.parametrize("words", [["trian"], ["data"], ["data", "chek"], ["--version"]])
def test_an_unknown_verb(words: list[str]) -> None:
    assert refused(*words) == f"no verb {' '.join(words)!r}; `lightning --help` lists them"


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
