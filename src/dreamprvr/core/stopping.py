"""Signals that end a run. A training finishes its step and saves first; others end at once."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

NAMES = ["SIGINT", "SIGTERM", "SIGHUP"]
if "SLURM_JOB_ID" in os.environ:  # SLURM sends it when the job's time is nearly over
    NAMES.append("SIGUSR1")
SIGNALS = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))
WORKER_SECONDS = 20  # a loading process goes on so long after SIGTERM, so that a step can end


class Stopped(BaseException):
    """A signal ended the run.

    Args:
        number: number of the signal.
        agreed: True if all processes of the run end for it, so that the first one can report it.

    Attributes:
        advice: how the user can go on, for the message.
    """

    def __init__(self, number: int, agreed: bool = False) -> None:
        super().__init__(number)
        self.number = number
        self.agreed = agreed
        self.advice = ""

    @property
    def code(self) -> int:
        """Exit code that shells give to a process that the signal ended."""
        return 128 + self.number

    def __str__(self) -> str:
        name = signal.Signals(self.number).name
        how = "interrupted" if self.number == signal.SIGINT else f"stopped by {name}"
        return f"{how}: {self.advice}" if self.advice else how


class _Received:
    """The signal that this process has received, and how it is handled."""

    number = 0
    awaited = False  # True while a training looks for the signal after each step
    process = 0  # number of the process that listens; its forks do not


@contextmanager
def listening() -> Iterator[None]:
    """Turn signals into the exception `Stopped`; a second signal ends the process at once.

    Signals that were ignored when the process started, as under `nohup`, stay ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _Received.number, _Received.awaited, _Received.process = 0, False, os.getpid()
    before = {number: signal.getsignal(number) for number in SIGNALS}
    taken = [number for number in SIGNALS if before[number] is not signal.SIG_IGN]
    for number in taken:
        signal.signal(number, _receive)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, before[number])
        _Received.awaited = False


def _receive(number: int, frame: FrameType | None) -> None:
    for each in SIGNALS:
        if signal.getsignal(each) is _receive:
            signal.signal(each, signal.SIG_DFL)
    if os.getpid() != _Received.process:  # a fork, which has no handling of its own
        os.kill(os.getpid(), number)
        return
    _Received.number = number
    if not _Received.awaited:
        raise Stopped(number)


def await_signals(awaited: bool) -> None:
    """Switch between raising `Stopped` and leaving signals to `received_signal`.

    Args:
        awaited: True while a training looks for signals itself, after each step.
    """
    _Received.awaited = awaited


def received_signal() -> int:
    """Return the number of the signal that this process has received; 0 if there is none."""
    return _Received.number


def keep_loading(worker: int) -> None:
    """Make a loading process ignore signals, which reach all processes of a run at once.

    Args:
        worker: number of the loading process, which torch passes.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "alarm"):
        signal.signal(signal.SIGTERM, lambda *_: signal.alarm(WORKER_SECONDS) and None)
