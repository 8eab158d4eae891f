"""Runs commands in processes of their own, without importing torch and Lightning for each.

One process imports them and forks itself for every command that it reads, as a line of JSON, from
its input. Processes that a command starts for further devices are forks of that command.
"""

import json
import os
import select
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from signal import SIGKILL
from types import SimpleNamespace
from typing import Any, NoReturn

LONGEST = 300  # seconds that a command may take on a busy machine


def run_in_fork(
    arguments: Sequence[str], environment: Mapping[str, str]
) -> tuple[int, str, str, bool]:
    """Run `lightning ARGUMENTS` in the working directory.

    Returns:
        The exit code (minus the number of a signal that ended it), what it printed to its output
        and its errors, and whether a process that it had started was left.
    """
    server = _server(tuple(sorted(environment.items())))
    with tempfile.TemporaryDirectory() as folder:
        files = [os.path.join(folder, name) for name in ("out", "err")]
        request = {
            "arguments": arguments,
            "cwd": os.getcwd(),
            "files": files,
            "env": {**os.environ},
        }
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        if not select.select([server.stdout], [], [], LONGEST)[0]:
            server.kill()
            raise TimeoutError(f"{arguments} did not end")
        code, left = json.loads(server.stdout.readline())
        out, err = (Path(file).read_text(encoding="utf-8", errors="replace") for file in files)
        return code, out, err, left


@cache
def _server(environment: tuple[tuple[str, str], ...]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "cli.forks"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True, env={**os.environ, **dict(environment)},
    )  # fmt: skip


def serve() -> None:
    """Run the requested commands, one after the other."""
    import cli.running  # noqa: F401 - the data set and the callbacks of the tests

    import dreamprvr.cli.trainer_cli  # noqa: F401 - what takes seconds to import

    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os.setpgid(0, 0)
            for number, name in enumerate([os.devnull, *request["files"]]):
                os.dup2(os.open(name, os.O_RDWR | os.O_CREAT), number)
            os.chdir(request["cwd"])
            sys.argv = ["lightning", *request["arguments"]]
            _run_main(request["env"])
        _, status = os.waitpid(pid, 0)
        print(json.dumps([os.waitstatus_to_exitcode(status), _left(pid)]), flush=True)


def _left(group: int) -> bool:
    """End what is left of a command; return whether anything is, ten seconds after its end.

    Loading processes look for the process that started them every five seconds.
    """
    for _ in range(200):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.05)
    os.killpg(group, SIGKILL)
    return True


def _run_main(environment: Mapping[str, str]) -> NoReturn:
    """Become a process that runs `sys.argv` in an environment, and end."""
    from lightning.pytorch.strategies.launchers import subprocess_script

    from dreamprvr.cli.main import main

    os.environ.clear()
    os.environ.update(environment)
    subprocess_script.subprocess = SimpleNamespace(Popen=Fork)  # type: ignore[assignment]
    code: Any = 0
    try:
        main()
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class Fork:
    """Stands for `subprocess.Popen` where Lightning starts this program again."""

    def __init__(self, command: list[str], env: dict[str, str], cwd: str | None) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self.returncode: int | None = None
        self._lock = threading.Lock()  # a process can be waited for once only
        self.pid = os.fork()
        if self.pid == 0:
            _run_main(env)

    def poll(self) -> int | None:
        return self.wait(os.WNOHANG)

    def wait(self, options: int = 0) -> int | None:
        with self._lock:
            if self.returncode is None:
                pid, status = os.waitpid(self.pid, options)
                self.returncode = os.waitstatus_to_exitcode(status) if pid else None
            return self.returncode

    def kill(self) -> None:
        os.kill(self.pid, SIGKILL)


if __name__ == "__main__":
    serve()
