import io
import sys

import pytest

from dreamprvr.core import progress
from dreamprvr.core.progress import ProgressBar


class Stream(io.StringIO):
    """Standard error, as a terminal or not."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The second that it is for a bar that is no terminal's."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def work(monkeypatch: pytest.MonkeyPatch, clock: list[float], terminal: bool) -> tuple[str, str]:
    err, out = Stream(terminal), io.StringIO()
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setattr(sys, "stdout", out)
    with ProgressBar(total=50, desc="videos", mininterval=0) as bar:
        for second in range(25):
            clock[0] = second
            bar.update(1)
            if second == 3:
                bar.write("between", file=sys.stdout)
    return err.getvalue(), out.getvalue()


def test_a_log_has_a_line_every_ten_seconds(
    monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    err, out = work(monkeypatch, clock, terminal=False)
    first, second = err.splitlines()
    assert first.startswith("videos:  22%|")
    assert "| 11/50 [" in first
    assert second.startswith("videos:  42%|")
    assert "| 21/50 [" in second
    assert "\r" not in err
    assert err.endswith("\n")
    assert out == "between\n"


def test_a_terminal_has_a_bar_that_stays(
    monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    err, out = work(monkeypatch, clock, terminal=True)
    assert err.count("\r") > 20
    assert err.count("\n") == 1
    assert "| 25/50 [" in err.split("\r")[-1]
    assert out == "between\n"


def test_short_work_and_a_bar_that_is_off_say_nothing_in_a_log(
    monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    err = Stream(terminal=False)
    monkeypatch.setattr(sys, "stderr", err)
    assert list(ProgressBar(range(3), mininterval=0)) == [0, 1, 2]
    for _ in ProgressBar(range(100), mininterval=0, disable=True):
        clock[0] += 1
    assert not err.getvalue()
