import os
import time
from pathlib import Path

import pytest

from dreamprvr.core.errors import UserError
from dreamprvr.extraction import watching
from dreamprvr.extraction.watching import REST, Watcher

FILM = Path("v/a.mp4")


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The second, of both clocks."""
    second = [time.time()]
    monkeypatch.setattr(watching.time, "monotonic", lambda: second[0])
    monkeypatch.setattr(watching.time, "time", lambda: second[0])
    return second


@pytest.fixture(autouse=True)
def _films() -> None:
    Path("v").mkdir()
    FILM.write_bytes(b"film")


def age(path: Path, seconds: float) -> None:
    changed = path.stat().st_mtime - seconds
    os.utime(path, (changed, changed))


def test_an_old_file_is_whole_at_once(now: list[float]) -> None:
    age(FILM, 2 * REST)
    look = Watcher(["v"]).look()
    assert list(look.whole) == [FILM.absolute()]
    assert look.growing == []
    assert look.whole[FILM.absolute()][0] == 4
    assert [video.video_id for video in look.found.videos] == ["a"]


def test_a_new_file_is_whole_when_it_rests(now: list[float]) -> None:
    watcher = Watcher(["v"])
    assert watcher.look().growing == [FILM.absolute()]
    now[0] += REST - 1
    FILM.write_bytes(b"a longer film")
    assert watcher.look().growing == [FILM.absolute()]
    now[0] += REST - 1
    assert watcher.look().growing == [FILM.absolute()]
    now[0] += 1
    assert list(watcher.look().whole) == [FILM.absolute()]


def test_a_file_from_the_future_rests_too(now: list[float]) -> None:
    age(FILM, -86_400)
    watcher = Watcher(["v"])
    assert watcher.look().growing
    now[0] += REST
    assert watcher.look().whole


def test_a_changed_file_rests_again_whatever_its_time(now: list[float]) -> None:
    age(FILM, 2 * REST)
    watcher = Watcher(["v"])
    watcher.look()
    FILM.write_bytes(b"another film")
    age(FILM, 1000)
    assert watcher.look().growing == [FILM.absolute()]


def test_no_videos(now: list[float]) -> None:
    watcher = Watcher(["v"])
    FILM.unlink()
    with pytest.raises(UserError, match="no videos in v"):
        watcher.look()
    FILM.write_bytes(b"film")
    assert watcher.look().growing  # it goes on
