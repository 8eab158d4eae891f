"""Windows against an obvious reference on random times, and reading ahead by a thread."""

import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from extraction.movies import constant, write_movie

from dreamprvr.extraction import windows as module
from dreamprvr.extraction.feature_file import ExtractionSettings, VideoRecord
from dreamprvr.extraction.find_videos import FoundVideo
from dreamprvr.extraction.windows import ReadAhead, VideoFailed, Waiting, WindowRead, cut

SETTINGS = ExtractionSettings("clock", "c10c", 3, 2.0, 1.0, 1.0)


@dataclass(eq=False)
class Still:
    """A picture of one pixel, whose values are its number."""

    begin: float
    end: float
    number: int
    size: tuple[int, int] = (1, 1)

    def pixels(self) -> np.ndarray:
        return np.full((*self.size, 3), self.number, np.uint8)


def stills(begins: list[float], end: float) -> list[Still]:
    ends = [*begins[1:], end]
    return [Still(b, e, i) for i, (b, e) in enumerate(zip(begins, ends, strict=True))]


def reference(begins, end, fps, window, stride, count):
    """Windows as (begin, end, numbers of pictures), all of the video at hand."""
    start, found, i = begins[0], [], 0
    looks = [start + (j + 0.5) / fps for j in range(int((end - start) * fps) + 2)]
    looks = [t for t in looks if t < end - 1e-4]
    while i == 0 or (start + i * stride < end - 1e-3 and found[-1][1] < end - 1e-3):
        a, b = start + i * stride, min(start + i * stride + window, end)
        inside = [t for t in looks if a - 1e-4 <= t < b - 1e-4]
        if not inside:
            inside = [b - 1e-3]
        seen = [max(n for n, x in enumerate(begins) if x <= t + 1e-4) for t in inside]
        if count:
            seen = [seen[int((k + 0.5) * len(seen) / count)] for k in range(count)]
        found.append((a, b, seen))
        i += 1
    return found


def numbers(windows):
    return [(w.begin, w.end, w.frames[:, 0, 0, 0].tolist()) for w in windows]


@pytest.mark.parametrize("seed", range(60))
def test_random_videos(seed: int) -> None:
    rng = np.random.default_rng(seed)
    steps = rng.choice([0.02, 0.04, 0.1, 0.5, 2.7], size=rng.integers(1, 60))
    begins = (rng.choice([0.0, 3.2]) + np.cumsum(steps)).round(3).tolist()
    end = begins[-1] + float(rng.choice([0.04, 0.5, 3.0]))
    window = float(rng.choice([0.5, 1.0, 2.5]))
    stride = float(rng.choice([0.25, 0.5, 1.0, 4.0]))
    fps = float(rng.choice([2.0, 3.0, 25.0]))
    count = int(rng.choice([0, 1, 3, 8]))
    found = numbers(cut(stills(begins, end), fps, window, stride, count))
    wanted = reference(begins, end, fps, window, stride, count)
    assert [w[2] for w in found] == [w[2] for w in wanted]
    np.testing.assert_allclose([w[:2] for w in found], [w[:2] for w in wanted], atol=1e-9)


def test_ten_seconds_by_the_second() -> None:
    windows = list(cut(stills([i / 10 for i in range(100)], 10.0), 1.0, 1.0, 1.0, 0))
    assert [(w.begin, w.end) for w in windows] == [(i, i + 1) for i in range(10)]
    assert [w.frames[:, 0, 0, 0].tolist() for w in windows] == [[10 * i + 5] for i in range(10)]


def test_windows_overlap_until_the_end_is_reached() -> None:
    windows = list(cut(stills([i / 2 for i in range(20)], 10.0), 2.0, 4.0, 1.0, 0))
    assert [w.begin for w in windows] == [0, 1, 2, 3, 4, 5, 6]
    assert all(w.frames.shape == (8, 1, 1, 3) for w in windows)


def test_one_picture_is_one_window() -> None:
    (window,) = cut(stills([2.0], 2.0005), 1.0, 1.0, 1.0, 0)
    assert (window.begin, window.end) == (2.0, 2.0005)
    assert window.frames.shape == (1, 1, 1, 3)


def test_a_window_is_given_before_the_next_begins() -> None:
    """No more than a window is ever held."""
    taken = []

    def watched():
        for still in stills([i / 10 for i in range(100)], 10.0):
            taken.append(still.begin)
            yield still

    for window in cut(watched(), 5.0, 1.0, 1.0, 0):
        assert taken[-1] <= window.end + 0.11


def test_pictures_of_another_size_are_scaled_to_the_first() -> None:
    pictures = [Still(0, 0.5, 10, (4, 6)), Still(0.5, 1, 20, (8, 3)), Still(1, 2, 30, (2, 2))]
    first, second = cut(pictures, 2.0, 1.0, 1.0, 0)
    assert first.frames.shape == (2, 4, 6, 3)
    assert first.frames[1].min() == first.frames[1].max() == 20
    assert second.frames.shape == (2, 2, 2, 3)


@pytest.fixture
def videos(tmp_path: Path) -> list[FoundVideo]:
    (tmp_path / "broken.mp4").write_text("text")
    write_movie(tmp_path / "a.mp4", constant(3, 10))
    write_movie(tmp_path / "b.mp4", constant(2, 10, start=1))
    return [FoundVideo(name, tmp_path / f"{name}.mp4") for name in ("a", "broken", "b")]


def test_events_come_in_order(videos: list[FoundVideo]) -> None:
    with ReadAhead(videos, SETTINGS, 0) as events:
        found = list(events)
    kinds = [
        (type(event), event.video_id if isinstance(event, VideoRecord) else event.video.video_id)
        for event in found
    ]
    assert kinds == [
        *[(WindowRead, "a")] * 3, (VideoRecord, "a"), (VideoFailed, "broken"),
        *[(WindowRead, "b")] * 2, (VideoRecord, "b"),
    ]  # fmt: skip
    a, failed, b = found[3], found[4], found[7]
    assert isinstance(a, VideoRecord)
    assert isinstance(b, VideoRecord)
    assert isinstance(failed, VideoFailed)
    status = videos[0].path.stat()
    assert (a.size, a.mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert (a.start, b.start) == (0, 1)
    assert a.duration == pytest.approx(3, abs=0.1)
    assert b.duration == pytest.approx(3, abs=0.1)
    assert failed.reason.startswith("not a video")
    assert isinstance(found[0], WindowRead)
    assert found[0].expected_end == pytest.approx(3, abs=0.1)


def test_reading_ahead_stops_at_the_memory_limit(
    videos: list[FoundVideo], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AHEAD_BYTES", 1)
    put: list[object] = []
    original = Waiting.put
    monkeypatch.setattr(Waiting, "put", lambda s, e: (original(s, e), put.append(e)))
    with ReadAhead(videos, SETTINGS, 0) as events:
        for taken, _ in enumerate(events):
            # what is taken, what waits, and marks without pictures
            time.sleep(0.01)
            assert len([e for e in put if isinstance(e, WindowRead)]) <= taken + 2


def test_leaving_early_stops_the_thread(
    videos: list[FoundVideo], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AHEAD_BYTES", 1)
    before = threading.active_count()

    def interrupted() -> None:
        with ReadAhead(videos, SETTINGS, 0) as events:
            next(iter(events))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert threading.active_count() == before


def test_a_file_that_changes_while_it_is_read(
    videos: list[FoundVideo], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AHEAD_BYTES", 1)
    with ReadAhead(videos[:1], SETTINGS, 0) as events:
        found = []
        for event in events:
            if not found:
                with videos[0].path.open("ab") as file:
                    file.write(b"more")
            found.append(event)
    assert isinstance(found[-1], VideoFailed)
    assert found[-1].reason.startswith("changed while it was read")


def test_an_unexpected_error_fails_one_file_only(
    videos: list[FoundVideo], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Exploding:
        def __init__(self, path: Path) -> None:
            raise RuntimeError("boom\nand more")

    monkeypatch.setattr(module, "VideoReader", Exploding)
    with ReadAhead(videos[:2], SETTINGS, 0) as events:
        reasons = [event.reason for event in events if isinstance(event, VideoFailed)]
    assert reasons == ["cannot be read (RuntimeError: boom)"] * 2


@pytest.mark.parametrize(("copies", "fails"), [(2, False), (3, True)])
def test_a_video_of_which_most_is_lost_has_failed(tmp_path: Path, copies: int, fails: bool) -> None:
    path = write_movie(tmp_path / "a.mp4", constant(4, 25))
    path.write_bytes(path.read_bytes() * copies)
    with ReadAhead([FoundVideo("a", path)], SETTINGS, 0) as events:
        last = list(events)[-1]
    if fails:
        assert isinstance(last, VideoFailed)
        assert last.reason.startswith("8.0 of 12.0 s have no pictures, which is too much: 67% of")
    else:
        assert isinstance(last, VideoRecord)
        assert last.warning.startswith("50% of the file")


def test_joined_recordings_are_reported_and_read_completely(tmp_path: Path) -> None:
    path = write_movie(tmp_path / "a.ts", constant(3, 25))
    path.write_bytes(path.read_bytes() * 3)
    with ReadAhead([FoundVideo("a", path)], SETTINGS, 0) as events:
        found = list(events)
    done = found[-1]
    assert isinstance(done, VideoRecord)
    assert len(found) == 10
    assert done.duration == pytest.approx(9.0, abs=1e-6)
    assert done.warning == "its clock jumps at 3.0, 6.0 s: the next picture follows the last"
