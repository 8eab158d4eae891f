import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from dreamprvr.core.stopping import Stopped, await_signals, keep_loading, listening, received_signal

TERM, INT, HUP = signal.SIGTERM, signal.SIGINT, signal.SIGHUP

# Python from 3.12 warns of any fork while there are threads, which pytest-xdist has; these use none
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (TERM, INT, HUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(0.01)


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(INT, 130, "interrupted"), (TERM, 143, "stopped by SIGTERM"), (HUP, 129, "stopped by SIGHUP")],
)
def test_a_signal_raises_stopped(number: int, code: int, said: str) -> None:
    with pytest.raises(Stopped) as caught, listening():
        send(number)
    assert (caught.value.code, str(caught.value)) == (code, said)
    caught.value.advice = "go on"
    assert str(caught.value) == f"{said}: go on"


def test_a_training_asks_for_the_signal_and_a_second_one_is_not_caught() -> None:
    with listening():
        assert received_signal() == 0
        await_signals(True)
        send(TERM)
        assert received_signal() == TERM
        assert signal.getsignal(TERM) == signal.getsignal(INT) == signal.SIG_DFL
    with listening():
        assert received_signal() == 0


def test_handlers_are_put_back_and_ignored_signals_stay_ignored() -> None:
    before = signal.getsignal(TERM)
    signal.signal(HUP, signal.SIG_IGN)  # as nohup does
    with listening():
        send(HUP)
        assert signal.getsignal(TERM) != before
        await_signals(True)
        send(TERM)
        assert signal.getsignal(HUP) == signal.SIG_IGN
    assert signal.getsignal(TERM) == before
    assert signal.getsignal(HUP) == signal.SIG_IGN


def test_other_threads_do_not_listen() -> None:
    before, seen = signal.getsignal(TERM), []

    def work() -> None:
        with listening():
            seen.append(signal.getsignal(TERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


def ended(setup_worker: bool, *numbers: int) -> int:
    """Send signals to a sleeping fork; return minus the signal that ended it, or 0."""
    with listening():
        await_signals(True)
        process = os.fork()
        if not process:
            if setup_worker:
                keep_loading(0)
            for number in numbers:
                os.kill(os.getpid(), number)
            time.sleep(0.2)
            os._exit(0)
        status = os.waitpid(process, 0)[1]
        assert received_signal() == 0
    return os.waitstatus_to_exitcode(status)


def test_a_fork_ends_by_the_signal_but_a_loading_process_lets_the_step_be_finished() -> None:
    assert ended(False, TERM) == -TERM
    assert ended(True, INT, HUP) == 0
    assert ended(True, TERM) == 0


def test_a_loading_process_ends_some_seconds_after_sigterm(monkeypatch: pytest.MonkeyPatch) -> None:
    alarms: list[int] = []
    monkeypatch.setattr(signal, "alarm", alarms.append)
    keep_loading(0)
    send(TERM)
    assert alarms == [20]
