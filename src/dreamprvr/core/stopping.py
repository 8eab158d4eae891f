"""Signals that end a run. A training finishes its step and saves first; all else ends at once."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

NAMES = ["SIGINT", "SIGTERM", "SIGHUP"]
if "SLURM_JOB_ID" in os.environ:  # there it says that the job's time is nearly over
    NAMES.append("SIGUSR1")
SIGNALS = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))
WORKER_SECONDS = 20  # that a loading process lives on after SIGTERM, to let a step be finished


class Stopped(BaseException):
    """A signal ended the run.

    Args:
        number: of the signal.
        agreed: all processes of the run end for it, so that the first can speak for them.

    Attributes:
        advice: how to go on.
    """

    def __init__(self, number: int, agreed: bool = False) -> None:
        super().__init__(number)
        self.number = number
        self.agreed = agreed
        self.advice = ""

    @property
    def code(self) -> int:
        """The exit code, as shells give it to a process that the signal ended."""
        return 128 + self.number

    def __str__(self) -> str:
        name = signal.Signals(self.number).name
        how = "interrupted" if self.number == signal.SIGINT else f"stopped by {name}"
        return f"{how}: {self.advice}" if self.advice else how


class _Received:
    """The signal that this process has received, and who looks for it."""

    number = 0
    awaited = False  # a training looks for it after each step
    process = 0  # which listens; a fork of it does not


@contextmanager
def listening() -> Iterator[None]:
    """Turn signals into `Stopped`; a second one ends the process at once.

    Signals that the process was started to ignore, as `nohup` does, stay ignored.
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
    if os.getpid() != _Received.process:  # a fork that no one has told what to do
        os.kill(os.getpid(), number)
        return
    _Received.number = number
    if not _Received.awaited:
        raise Stopped(number)


def await_signals(awaited: bool) -> None:
    """Say that a training looks for signals by itself, by `received_signal`, or does no longer."""
    _Received.awaited = awaited


def received_signal() -> int:
    """Number of the signal that this process has received; 0 if there is none."""
    return _Received.number


def keep_loading(worker: int) -> None:
    """Set up a loading process: signals to a whole group of processes must not end it first.

    Args:
        worker: its number.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "alarm"):
        signal.signal(signal.SIGTERM, lambda *_: signal.alarm(WORKER_SECONDS) and None)
