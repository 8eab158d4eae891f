"""Runs commands in processes of their own, without importing torch and Lightning for each.

One process imports them and forks itself for every command that it reads, as a line of JSON, from
its input. Processes that a command starts for further devices, and the runs of a comparison, are
forks of that command.
"""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from signal import SIGKILL
from types import SimpleNamespace
from typing import Any, NoReturn

MAIN = "dreamprvr.cli.main"
LONGEST = 300  # seconds that a command may take on a busy machine


class Command:
    """`lightning ARGUMENTS`, started in the working directory; one at a time.

    Args:
        arguments: arguments of the program.
        environment: variables that it gets beside those of this process.
        module: module whose `main` takes the place of the program.

    Attributes:
        pid: number of its process.
    """

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str], module: str = MAIN
    ) -> None:
        self._server = _server(tuple(sorted(environment.items())))
        self._folder = tempfile.TemporaryDirectory()
        self._files = [os.path.join(self._folder.name, name) for name in ("out", "err")]
        for file in self._files:
            Path(file).touch()
        request = {
            "arguments": arguments, "cwd": os.getcwd(), "files": self._files, "env": {**os.environ},
            "module": module,
        }  # fmt: skip
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(request).encode() + b"\n")
        self.pid: int = self._answer()

    def printed(self, lines: int) -> None:
        """Wait until it has printed a number of lines."""
        until = time.monotonic() + LONGEST
        while Path(self._files[0]).read_text().count("\n") < lines:
            assert not self.has_ended(), self.wait()
            assert time.monotonic() < until
            time.sleep(0.005)

    def has_ended(self) -> bool:
        """Return whether it has ended."""
        return bool(select.select([self._server.stdout], [], [], 0)[0])

    def wait(self) -> tuple[int, str, str, bool]:
        """Wait for its end.

        Returns:
            The exit code (minus the number of a signal that ended it), what it printed to its
            output and its errors, and whether a process that it had started was left.
        """
        code, left = self._answer()
        out, err = (Path(file).read_text("utf-8", errors="replace") for file in self._files)
        self._folder.cleanup()
        return code, out, err, left

    def _answer(self) -> Any:
        assert self._server.stdout is not None
        if not select.select([self._server.stdout], [], [], LONGEST)[0]:
            self._server.kill()
            raise TimeoutError("a command did not end")
        return json.loads(self._server.stdout.readline())


@cache
def _server(environment: tuple[tuple[str, str], ...]) -> "subprocess.Popen[bytes]":
    # without a buffer, in which `select` would not see a line
    return subprocess.Popen(
        [sys.executable, "-m", "cli.forks"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        bufsize=0, env={**os.environ, **dict(environment)},
    )  # fmt: skip


def serve() -> None:
    """Run the requested commands, one after the other."""
    import cli.running  # noqa: F401 - the data set and the callbacks of the tests

    import dreamprvr.cli.trainer_cli  # noqa: F401 - what takes seconds to import

    for line in sys.stdin:
        request = json.loads(line)
        import_module(request["module"])  # once for all
        pid = os.fork()
        if pid == 0:
            os.setpgid(0, 0)
            # ignored where tests run in the background
            signal.signal(signal.SIGINT, signal.default_int_handler)
            for number, name in enumerate([os.devnull, *request["files"]]):
                os.dup2(os.open(name, os.O_RDWR | os.O_CREAT), number)
            os.chdir(request["cwd"])
            sys.argv = ["lightning", *request["arguments"]]
            _run_main(request["env"], request["module"])
        print(pid, flush=True)
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


def _run_main(environment: Mapping[str, str], module: str = MAIN) -> NoReturn:
    """Become a process that runs `sys.argv` in an environment, and end."""
    from lightning.pytorch.strategies.launchers import subprocess_script

    from dreamprvr.cli import compare

    os.environ.clear()
    os.environ.update(environment)
    forks = SimpleNamespace(Popen=Fork, PIPE=subprocess.PIPE)
    subprocess_script.subprocess = compare.subprocess = forks  # type: ignore[assignment]
    code: Any = 0
    try:
        import_module(module).main()
    except SystemExit as end:
        if isinstance(code := end.code or 0, str):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class Fork:
    """Stands for `subprocess.Popen` where Lightning or a comparison starts this program again."""

    def __init__(
        self, command: list[str], env: dict[str, str], stderr: int | None = None, **_: Any
    ) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self.returncode: int | None = None
        self._lock = threading.Lock()  # a process can be waited for once only
        reading, writing = os.pipe() if stderr else (-1, -1)
        self.pid = os.fork()
        if self.pid == 0 and stderr:  # python -P -m MODULE WORDS, by a comparison
            os.setpgid(0, 0)
            os.dup2(writing, 2)
            sys.stderr = os.fdopen(writing, "w", buffering=1)  # the old one was of a file
            name, *words = command[command.index("-m") + 1 :]
            sys.argv = [name, *words]
            _run_main(env, MAIN if name == "dreamprvr" else name)
        if self.pid == 0:
            _run_main(env)
        if stderr:
            os.close(writing)
            self.stderr = os.fdopen(reading, errors="replace")

    def poll(self) -> int | None:
        return self.wait(os.WNOHANG)

    def wait(self, options: int = 0) -> int | None:
        with self._lock:
            if self.returncode is None:
                pid, status = os.waitpid(self.pid, options)
                self.returncode = os.waitstatus_to_exitcode(status) if pid else None
            return self.returncode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(SIGKILL)


if __name__ == "__main__":
    serve()
