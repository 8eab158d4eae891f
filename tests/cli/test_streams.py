"""The program and what it prints to, as a shell starts it."""

import os
import subprocess
import sys

import pytest

from dreamprvr.cli import main as program
from dreamprvr.cli import streams


def shell(verb: str, output: int, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    """Run a program that has `verb` as its verb x."""
    code = f"""
import sys
from dreamprvr.cli import light_verbs, main
def x(words):
    {verb}
light_verbs.VERBS["x"] = x
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
def test_a_reader_that_goes_away_ends_it_quietly(verb: str, unbuffered: str, closed: int) -> None:
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
    streams.print_anything()
