import contextlib
import io
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from extraction.clock_encoder import ClockEncoder
from extraction.movies import constant, picture, write_movie

from dreamprvr.core.errors import UserError
from dreamprvr.extraction import extractor, windows
from dreamprvr.extraction.extractor import Batcher, Progress, Summary, extract, length, settings_of
from dreamprvr.extraction.feature_file import FeatureFile, VideoFeatures, VideoRecord
from dreamprvr.extraction.find_videos import FoundVideo, find_videos
from dreamprvr.extraction.output import Stored
from dreamprvr.extraction.plan import Plan

OUTPUT = Path("f.hdf5")
LENGTHS = {"a": 3, "b": 5, "c": 2, "d": 4}


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for name, seconds in LENGTHS.items():
        write_movie(folder / f"{name}.mp4", constant(seconds, 10))
    return folder


@pytest.fixture(autouse=True)
def _films(originals: Path) -> None:
    shutil.copytree(originals, "v")


def run(encoder: ClockEncoder | None = None, **options: object) -> Summary:
    encoder = encoder or ClockEncoder()
    options = {
        "show_progress": False, "settings": settings_of(encoder), "batch_size": 32, **options,
    }  # fmt: skip
    return extract(find_videos(["v"]), encoder, output=OUTPUT, **options)  # type: ignore[arg-type]


def contents() -> dict[str, VideoFeatures]:
    with FeatureFile(OUTPUT) as file:
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


def test_rows_of_a_late_start_count_seconds_as_a_player_does() -> None:
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
    assert (summary.extracted, summary.plan.unchanged, encoder.batches) == (0, 4, [])
    assert (OUTPUT.stat().st_ino, OUTPUT.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert OUTPUT.read_bytes() == content


def test_only_what_changed_is_extracted() -> None:
    run()
    write_movie(Path("v/b.mp4"), constant(1, 10))
    write_movie(Path("v/e.mp4"), constant(1, 10))
    Path("v/a.mp4").unlink()
    encoder = ClockEncoder()
    summary = run(encoder)
    assert (summary.extracted, summary.plan.unchanged, summary.plan.unnamed) == (2, 2, 1)
    assert sum(encoder.batches) == 2
    assert {name: len(video.rows) for name, video in contents().items()} == {
        "a": 3, "b": 1, "c": 2, "d": 4, "e": 1,
    }  # fmt: skip
    pruned = run(prune=True)
    assert (pruned.plan.unnamed, pruned.plan.dropped) == (0, 1)
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
    assert (again.extracted, again.plan.unchanged, len(again.failures)) == (0, 5, 3)


def test_prune_leaves_something() -> None:
    run()
    before = OUTPUT.read_bytes()
    Path("broken.mp4").write_text("text")
    encoder = ClockEncoder()
    broken = find_videos(["broken.mp4", "gone.mp4"])
    summary = extract(broken, encoder, settings_of(encoder), OUTPUT, 32, prune=True)
    assert (summary.plan.dropped, len(summary.failures)) == (4, 2)
    assert OUTPUT.read_bytes() == before


@pytest.mark.parametrize("batches", range(15))
def test_finished_videos_survive_ctrl_c(batches: int) -> None:
    """With a window a batch, all videos whose windows were encoded are in the file."""
    interrupted = contextlib.nullcontext() if batches == 14 else pytest.raises(KeyboardInterrupt)
    with interrupted:  # there are 14 windows
        run(ClockEncoder(InterruptAt(batches)), batch_size=1)
    ends = np.cumsum(list(LENGTHS.values()))
    finished = [name for name, end in zip(LENGTHS, ends, strict=True) if end <= batches]
    assert (sorted(contents()) if OUTPUT.exists() else []) == finished
    rest = ClockEncoder()
    summary = run(rest)
    assert (summary.plan.unchanged, summary.extracted) == (len(finished), 4 - len(finished))
    assert sum(rest.batches) == 14 - sum(LENGTHS[name] for name in finished)
    resumed = contents()
    OUTPUT.unlink()
    run()
    for name, video in contents().items():
        np.testing.assert_array_equal(resumed[name].rows, video.rows)
        assert replace(resumed[name], rows=None) == replace(video, rows=None)  # type: ignore[arg-type]
    assert not Path("f.hdf5.parts").exists()


PROGRAM = """
import itertools, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in background
sys.path[:0] = sys.argv[1:]
from extraction.test_extractor import *

calls = itertools.count(1)

def stop(count):
    print("batch", flush=True)
    if next(calls) == 10:
        time.sleep(100)

run(ClockEncoder(stop), batch_size=1)
print("end")
"""


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_can_be_continued(stop: signal.Signals) -> None:
    tests = Path(__file__).parents[1]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tests.parent), str(tests)], stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    for _ in range(10):  # nine are done: two videos, and the first window of the third
        assert process.stdout.readline() == "batch\n"
    os.kill(process.pid, stop)
    assert "end" not in process.communicate()[0]
    assert process.returncode != 0
    assert OUTPUT.exists() == (stop == signal.SIGINT)
    rest = ClockEncoder()
    summary = run(rest)
    assert (summary.plan.unchanged, summary.extracted) == (2, 2)
    assert sum(rest.batches) == 6
    assert {name: len(video.rows) for name, video in contents().items()} == LENGTHS
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["f.hdf5", "v"]


def test_little_of_a_long_video_is_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    write_movie(Path("v/long.mp4"), constant(120, 10))
    monkeypatch.setattr(windows, "AHEAD_BYTES", 200_000)
    held, put = [], windows.Waiting.put

    def watched(self: windows.Waiting, event: windows.Event | None) -> None:
        put(self, event)
        held.append(self.size)

    monkeypatch.setattr(windows.Waiting, "put", watched)
    run()
    assert len(contents()["long"].rows) == 120
    assert 0 < max(held) < 300_000  # a window more than the limit; the whole is 5.9 MB


def test_a_video_with_nan_rows_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
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


def window(seconds: float) -> np.ndarray:
    return picture(seconds)[None]


def test_a_batch_holds_windows_of_several_videos() -> None:
    encoder = ClockEncoder()
    batcher = Batcher(encoder, 4)
    for name, seconds in [("a", 1), ("a", 2), ("b", 3), ("b", 4), ("b", 5)]:
        batcher.add(name, window(seconds))
    assert encoder.batches == [4]
    assert batcher.is_complete("a")
    assert not batcher.is_complete("b")
    batcher.flush()
    assert encoder.batches == [4, 1]
    assert batcher.is_complete("b")
    assert batcher.take("b")[:, 0].tolist() == [3, 4, 5]
    assert batcher.take("a")[:, 0].tolist() == [1, 2]
    batcher.flush()
    assert encoder.batches == [4, 1]


def test_a_failed_video_leaves_nothing() -> None:
    encoder = ClockEncoder()
    batcher = Batcher(encoder, 3)
    for name in "aabab":
        batcher.add(name, window(1))
    batcher.forget("a")
    batcher.flush()
    assert encoder.batches == [3, 1]
    assert len(batcher.take("b")) == 2
    batcher.add("a", window(7))
    batcher.flush()
    assert batcher.take("a")[:, 0].tolist() == [7]


def test_large_windows_make_small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extractor, "BATCH_BYTES", 2 * window(0).nbytes)
    encoder = ClockEncoder()
    batcher = Batcher(encoder, 100)
    for seconds in range(5):
        batcher.add("a", window(seconds))
    batcher.flush()
    assert encoder.batches == [2, 2, 1]
    assert batcher.take("a")[:, 0].tolist() == [0, 1, 2, 3, 4]


def test_an_encoder_that_breaks_its_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    batcher = Batcher(ClockEncoder(), 1)
    monkeypatch.setattr(ClockEncoder, "encode_windows", lambda self, w: torch.zeros(1, 2))
    with pytest.raises(UserError, match=r"clock gave rows of shape \(1, 2\), not \(1, 3\)"):
        batcher.add("a", window(0))


def test_a_full_device() -> None:
    def full(count: int) -> None:
        raise torch.OutOfMemoryError

    with pytest.raises(UserError, match=r"a batch of 1 windows does not fit .* --batch_size"):
        Batcher(ClockEncoder(full), 1).add("a", window(0))


VIDEO = VideoRecord("a", 0.0, 1.0, Path("a.mp4"), 1, 1)
KEPT = {"a": Stored(OUTPUT, VIDEO)}


def test_lines_of_a_summary() -> None:
    summary = Summary(
        OUTPUT, Plan(kept=KEPT, unchanged=1_234, unnamed=1), 1024, extracted=2,
        video_seconds=3725.4, elapsed=12.34, failures=[(Path("/v/a\x1b[2J.mp4"), "only sound")],
        warnings=[(Path("/v/ä.mp4"), "truncated: ends at 1.0 s")],
    )  # fmt: skip
    assert summary.lines() == [
        "/v/ä.mp4: truncated: ends at 1.0 s",
        "/v/a\\x1b[2J.mp4: failed: only sound",
        "1 other video of f.hdf5 kept; --prune drops them",
        "2 videos extracted (1:02:05 of video in 12.3 s), 1,234 unchanged, 1 file failed; features"
        " are in f.hdf5 (rows of 1,024 numbers)",
    ]
    assert summary.exit_code == 1


def test_summary_of_a_run_without_new_videos() -> None:
    summary = Summary(OUTPUT, Plan(kept=KEPT, unchanged=3), 512)
    assert summary.lines() == [
        "0 videos extracted, 3 unchanged; features are in f.hdf5 (rows of 512 numbers)"
    ]
    assert summary.exit_code == 0


def test_summary_of_a_run_with_failures_only() -> None:
    summary = Summary(OUTPUT, Plan(), 512, failures=[(Path("a"), "x"), (Path("b"), "y")])
    assert summary.lines()[-1] == "0 videos extracted, 2 files failed"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (59.9, "59.9 s"), (60, "0:01:00"), (7384.6, "2:03:05")]
)
def test_length(seconds: float, text: str) -> None:
    assert length(seconds) == text


def test_the_lines_say_what_prune_did() -> None:
    summary = Summary(OUTPUT, Plan(kept=KEPT, unchanged=1, unseen=2, dropped=3), 512)
    assert summary.lines() == [
        "0 videos extracted, 1 unchanged, 3 dropped, 2 kept unseen; features are in f.hdf5 (rows of"
        " 512 numbers)"
    ]
    summary = Summary(OUTPUT, Plan(dropped=3), 512, failures=[(Path("a"), "x")])
    assert summary.lines()[1:] == [
        "nothing that was named could be extracted, so --prune dropped nothing: 3 videos of f.hdf5 "
        "kept",
        "0 videos extracted, 1 file failed; features are in f.hdf5 (rows of 512 numbers)",
    ]


def test_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in (("a", 300), ("b", 100)):
        Path(name).write_bytes(bytes(size))
    videos = [FoundVideo(name, Path(name).absolute()) for name in ("a", "b")]
    now = [100.0]
    monkeypatch.setattr(extractor.time, "monotonic", lambda: now[0])
    monkeypatch.setattr("sys.stderr", out := io.StringIO())
    monkeypatch.setattr(out, "isatty", lambda: True)
    with Progress(videos, show=True) as bar:

        def line() -> str:
            bar._bar.refresh()
            return out.getvalue().split("\r")[-1]

        now[0] += 2
        bar.within("a", 30.0, 60.0)
        assert bar._bar.n == 150
        assert line().startswith(" 38%|")
        assert "| 0/2 videos, 15.0 s of video a second [00:0" in line()
        bar.within("a", 10.0, None)  # never goes back
        assert bar._bar.n == 150
        bar.done("a", 60.0)
        assert bar._bar.n == 300
        assert "| 1/2 videos, 30.0 s of video a second [00:0" in line()
        bar.done("b", 0.0)
        assert line().startswith("100%|")
        assert "2/2 videos" in line()


def test_short_work_shows_no_bar_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    videos = [FoundVideo("gone", Path("gone").absolute())]
    with Progress(videos) as bar:
        bar.done("gone", 1.0)
    assert capsys.readouterr().err == ""


def test_a_function_is_told_in_place_of_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    told: list[tuple[int, int, bool]] = []

    def report(progress: Progress) -> None:
        told.append((progress.finished, progress.total, progress.left > 0))
        assert progress.text.startswith(f"{progress.finished}/4 videos, ")

    run(report=report, show_progress=True)
    assert told[0] == (0, 4, True)
    assert told[-1] == (4, 4, False)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("renewing", "counts"), [(0, [1, 2, 3, 4]), (10**9, [1])])
def test_the_output_is_renewed_on_the_way(
    renewing: int, counts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extractor, "RENEWING", renewing)
    seen: list[int] = []
    run(batch_size=1, joined=lambda: seen.append(len(contents())))
    assert seen == counts
    assert {name: len(video.rows) for name, video in contents().items()} == LENGTHS
    assert not Path("f.hdf5.parts").exists()


def test_renewing_keeps_new_names_and_old_rows() -> None:
    run()
    before = contents()["a"]
    Path("v/a.mp4").rename("v/y.mp4")
    write_movie(Path("v/x.mp4"), constant(1, 10))
    seen: list[list[str]] = []
    run(joined=lambda: seen.append(sorted(contents())))
    assert seen == [["b", "c", "d", "x", "y"]]
    np.testing.assert_array_equal(contents()["y"].rows, before.rows)
