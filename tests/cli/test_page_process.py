"""The page's process: its lines, its mistakes, and its end."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from dreamprvr.cli import library_verbs, page_process
from dreamprvr.cli.page_process import PageProcess
from dreamprvr.core.errors import UserError


def run_here(monkeypatch: pytest.MonkeyPatch, serve: Any) -> list[Any]:
    """Call what the new process calls in this one, and return what it sends."""
    sent: list[Any] = []

    class Connection:
        send = staticmethod(sent.append)

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(page_process, "_follow_parent", lambda: None)
    monkeypatch.setattr(library_verbs, "serve_library", serve)
    try:
        page_process._serve(Connection(), {"library": Path("x")})  # type: ignore[arg-type]
    except SystemExit as end:
        sent.append(end.code)
    finally:
        signal.signal(signal.SIGINT, before)
    return sent


def test_lines_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def serve(library: Path) -> int:
        print("the page", end="")
        print(" is at", library, flush=True)
        return 0

    assert run_here(monkeypatch, serve) == ["the page is at x"]


def test_mistakes_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def serve(library: Path) -> int:
        raise UserError("the port is taken")

    assert run_here(monkeypatch, serve) == ["\0the port is taken", 2]


def test_ctrl_c_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def serve(library: Path) -> int:
        raise KeyboardInterrupt

    assert run_here(monkeypatch, serve) == [0]


def test_a_page_that_was_not_started() -> None:
    page = PageProcess(print, library=Path("x"))
    page.wait(0.01)
    assert not page.has_ended()
    page.close()


@pytest.mark.slow
def test_a_taken_port_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "progress.json").write_text("{}")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        page = PageProcess(print, library=tmp_path, port=port)
        page.start()
        try:
            with pytest.raises(UserError, match=f"cannot listen on 127.0.0.1:{port}"):
                page.wait(60)
        finally:
            page.close()


PROGRAM = """
import os, sys, time
from pathlib import Path
from dreamprvr.cli.page_process import PageProcess
if __name__ == "__main__":
    page = PageProcess(lambda line: print(line, flush=True), library=Path(sys.argv[1]), port=0)
    page.start()
    print(page._process.pid, flush=True)
    time.sleep(100)
"""


@pytest.mark.slow
def test_the_page_ends_with_a_killed_parent(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    (tmp_path / "progress.json").write_text(f'{{"pid": {os.getpid()}, "done": 0, "total": 1}}')
    parent = subprocess.Popen(
        [sys.executable, program, tmp_path], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    page = int(parent.stdout.readline())
    assert parent.stdout.readline().startswith("the page is at http://127.0.0.1:")
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until = time.monotonic() + 20
    while is_there(page):
        assert time.monotonic() < until, "the page goes on"
        time.sleep(0.1)


def is_there(pid: int) -> bool:
    """Return whether a process runs; one that has ended may wait to be noticed."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
