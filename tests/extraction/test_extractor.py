import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from extraction.clock_encoder import ClockEncoder
from extraction.movies import constant, write_movie

from dreamprvr.core.errors import UserError
from dreamprvr.extraction import reading
from dreamprvr.extraction.extractor import extract, settings_of
from dreamprvr.extraction.feature_file import FeatureFile, VideoFeatures
from dreamprvr.extraction.find_videos import find_videos
from dreamprvr.extraction.summary import Summary

OUTPUT = Path("f.hdf5")
LENGTHS = {"a": 3, "b": 5, "c": 2, "d": 4}


@pytest.fixture(autouse=True)
def _films() -> None:
    Path("v").mkdir()
    for name, seconds in LENGTHS.items():
        write_movie(Path(f"v/{name}.mp4"), constant(seconds, 10))


def run(encoder: ClockEncoder | None = None, **options: object) -> Summary:
    encoder = encoder or ClockEncoder()
    options = {"show_progress": False, "settings": settings_of(encoder), **options}
    return extract(find_videos(["v"]), encoder, output=OUTPUT, **options)  # type: ignore[arg-type]


def contents() -> dict[str, VideoFeatures]:
    with FeatureFile.open(OUTPUT) as file:
        return {name: file.read(name) for name in file.video_ids()}


class InterruptAt:
    """Ctrl-C before the batch of a number."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self, count: int) -> None:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_rows_are_of_their_seconds(batch_size: int) -> None:
    encoder = ClockEncoder()
    summary = run(encoder, batch_size=batch_size)
    assert (summary.extracted, summary.failures, summary.warnings) == (4, [], [])
    assert max(encoder.batches) == min(batch_size, 14)
    found = contents()
    for name, seconds in LENGTHS.items():
        video = found[name]
        looks = [[i + 0.25, i + 0.75, 2] for i in range(seconds)]
        np.testing.assert_allclose(video.rows, looks, atol=0.051)  # a picture lasts 0.1 s
        assert video.start == 0
        assert video.duration == pytest.approx(seconds, abs=0.1)
        assert video.path == Path(f"v/{name}.mp4").absolute()


def test_fps_window_and_stride() -> None:
    encoder = ClockEncoder()
    run(encoder, settings=settings_of(encoder, fps=1.0, window=2.0, stride=1.0))
    rows = contents()["d"].rows
    np.testing.assert_allclose(rows, [[0.5, 1.5, 2], [1.5, 2.5, 2], [2.5, 3.5, 2]], atol=0.01)


def test_rows_of_a_late_start_are_of_a_players_seconds() -> None:
    write_movie(Path("v/late.mp4"), constant(2, 10, start=3), audio=(0, 5))
    run()
    video = contents()["late"]
    assert (video.start, video.duration) == (3, pytest.approx(5, abs=0.1))
    np.testing.assert_allclose(video.rows, [[3.25, 3.75, 2], [4.25, 4.75, 2]], atol=0.051)


def test_the_second_run_does_nothing() -> None:
    run()
    before = OUTPUT.stat()
    content = OUTPUT.read_bytes()
    encoder = ClockEncoder()
    summary = run(encoder)
    assert (summary.extracted, summary.unchanged, encoder.batches) == (0, 4, [])
    assert (OUTPUT.stat().st_ino, OUTPUT.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert OUTPUT.read_bytes() == content


def test_only_what_changed_is_extracted() -> None:
    run()
    write_movie(Path("v/b.mp4"), constant(1, 10))
    write_movie(Path("v/e.mp4"), constant(1, 10))
    Path("v/a.mp4").unlink()
    encoder = ClockEncoder()
    summary = run(encoder)
    assert (summary.extracted, summary.unchanged, summary.unnamed) == (2, 2, 1)
    assert sum(encoder.batches) == 2
    assert {name: len(video.rows) for name, video in contents().items()} == {
        "a": 3, "b": 1, "c": 2, "d": 4, "e": 1,
    }  # fmt: skip
    pruned = run(prune=True)
    assert (pruned.unnamed, pruned.dropped) == (0, 1)
    assert sorted(contents()) == ["b", "c", "d", "e"]


def test_broken_files_stop_nothing() -> None:
    Path("v/aa.mp4").write_text("text")
    Path("v/bb.mp4").touch()
    write_movie(Path("v/cc.mp4"), [], audio=(0, 1))
    half = write_movie(Path("v/dd.mkv"), constant(20, 10))
    half.write_bytes(half.read_bytes()[: half.stat().st_size // 2])
    summary = run()
    assert summary.extracted == 5
    assert {path.name: text for path, text in summary.failures} == {
        "aa.mp4": summary.failures[0][1], "bb.mp4": "an empty file", "cc.mp4": "only sound",
    }  # fmt: skip
    ((path, text),) = summary.warnings
    assert path.name == "dd.mkv"
    assert text == contents()["dd"].warning
    assert text.startswith("truncated: ")
    assert summary.exit_code == 1
    again = run()
    assert (again.extracted, again.unchanged, len(again.failures)) == (0, 5, 3)


def test_prune_leaves_something() -> None:
    run()
    before = OUTPUT.read_bytes()
    Path("broken.mp4").write_text("text")
    encoder = ClockEncoder()
    broken = find_videos(["broken.mp4", "gone.mp4"])
    summary = extract(broken, encoder, settings_of(encoder), OUTPUT, prune=True)
    assert (summary.dropped, summary.undropped, len(summary.failures)) == (0, 4, 2)
    assert OUTPUT.read_bytes() == before


@pytest.mark.parametrize("batches", range(15))
def test_what_is_finished_survives_ctrl_c(batches: int) -> None:
    """With a window a batch, all videos whose windows were encoded are in the file."""
    interrupted = contextlib.nullcontext() if batches == 14 else pytest.raises(KeyboardInterrupt)
    with interrupted:  # there are 14 windows
        run(ClockEncoder(InterruptAt(batches)), batch_size=1)
    ends = np.cumsum(list(LENGTHS.values()))
    finished = [name for name, end in zip(LENGTHS, ends, strict=True) if end <= batches]
    assert (sorted(contents()) if OUTPUT.exists() else []) == finished
    rest = ClockEncoder()
    summary = run(rest)
    assert (summary.unchanged, summary.extracted) == (len(finished), 4 - len(finished))
    assert sum(rest.batches) == 14 - sum(LENGTHS[name] for name in finished)
    resumed = contents()
    OUTPUT.unlink()
    run()
    for name, video in contents().items():
        np.testing.assert_array_equal(resumed[name].rows, video.rows)
        assert replace(resumed[name], rows=None) == replace(video, rows=None)  # type: ignore[arg-type]
    assert not Path("f.hdf5.parts").exists()


PROGRAM = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in background
sys.path[:0] = sys.argv[1:2]
from extraction.test_extractor import *

def slowly(count):
    print("batch", flush=True)
    time.sleep(0.2)

run(ClockEncoder(slowly), batch_size=1)
print("end")
"""


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_killed_goes_on(stop: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(Path(__file__).parents[1])], stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    for _ in range(10):  # nine are done: two videos, and the first window of the third
        assert process.stdout.readline() == "batch\n"
    time.sleep(0.05)
    os.kill(process.pid, stop)
    assert "end" not in process.communicate()[0]
    assert process.returncode != 0
    assert OUTPUT.exists() == (stop == signal.SIGINT)
    rest = ClockEncoder()
    summary = run(rest)
    assert (summary.unchanged, summary.extracted) == (2, 2)
    assert sum(rest.batches) == 6
    assert {name: len(video.rows) for name, video in contents().items()} == LENGTHS
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["f.hdf5", "v"]


def test_little_of_a_long_video_is_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    write_movie(Path("v/long.mp4"), constant(120, 10))
    monkeypatch.setattr(reading, "AHEAD_BYTES", 200_000)
    held, put = [], reading.ReadAhead._put

    def watched(self: reading.ReadAhead, event: reading.Event | None) -> None:
        put(self, event)
        held.append(self._bytes)

    monkeypatch.setattr(reading.ReadAhead, "_put", watched)
    run()
    assert len(contents()["long"].rows) == 120
    assert 0 < max(held) <= 200_000  # the whole is 5.9 MB


def test_rows_that_are_no_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    original = ClockEncoder.encode_windows

    def broken(self, windows):
        rows = original(self, windows)
        rows[rows[:, 0] > 4] = np.nan  # only the longest video has that second
        return rows

    monkeypatch.setattr(ClockEncoder, "encode_windows", broken)
    summary = run()
    ((path, reason),) = summary.failures
    assert (path.name, reason) == ("b.mp4", "the encoder gave NaN or infinite values")
    assert sorted(contents()) == ["a", "c", "d"]


def test_settings() -> None:
    encoder = ClockEncoder()
    found = settings_of(encoder)
    assert (found.encoder, found.fingerprint, found.video_dim) == ("clock", "c10c", 3)
    assert (found.fps, found.window, found.stride) == (2.0, 1.0, 1.0)
    found = settings_of(encoder, window=3.0)
    assert (found.window, found.stride) == (3.0, 3.0)
    assert settings_of(encoder, stride=0.5).window == 1.0
    with pytest.raises(UserError, match="give --fps 4 or more, or a longer --window"):
        settings_of(encoder, window=0.25)
    with pytest.raises(UserError, match=r"^stride is 0.0; it must be a number from 0.001"):
        settings_of(encoder, stride=0.0)
    with pytest.raises(UserError, match=r"^--batch_size is 0"):
        run(batch_size=0)
