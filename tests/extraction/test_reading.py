import threading
import time
from pathlib import Path

import pytest
from extraction.movies import constant, write_movie

from dreamprvr.extraction import reading
from dreamprvr.extraction.feature_file import ExtractionSettings
from dreamprvr.extraction.find_videos import FoundVideo
from dreamprvr.extraction.reading import Cut, Done, Failed, ReadAhead

SETTINGS = ExtractionSettings("clock", "c10c", 3, 2.0, 1.0, 1.0)


@pytest.fixture
def videos(tmp_path: Path) -> list[FoundVideo]:
    (tmp_path / "broken.mp4").write_text("text")
    write_movie(tmp_path / "a.mp4", constant(3, 10))
    write_movie(tmp_path / "b.mp4", constant(2, 10, start=1))
    return [FoundVideo(name, tmp_path / f"{name}.mp4") for name in ("a", "broken", "b")]


def test_events_come_in_order(videos: list[FoundVideo]) -> None:
    with ReadAhead(videos, SETTINGS, 0) as events:
        found = list(events)
    kinds = [(type(event), event.video.video_id) for event in found]
    assert kinds == [(Cut, "a")] * 3 + [(Done, "a"), (Failed, "broken")] + [(Cut, "b")] * 2 + [
        (Done, "b")
    ]
    a, failed, b = found[3], found[4], found[7]
    assert isinstance(a, Done)
    assert isinstance(b, Done)
    assert isinstance(failed, Failed)
    status = videos[0].path.stat()
    assert (a.size, a.mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert (a.start, b.start) == (0, 1)
    assert a.duration == pytest.approx(3, abs=0.1)
    assert b.duration == pytest.approx(3, abs=0.1)
    assert failed.reason.startswith("not a video")
    assert isinstance(found[0], Cut)
    assert found[0].expected_end == pytest.approx(3, abs=0.1)


def test_no_more_is_read_than_there_is_room_for(
    videos: list[FoundVideo], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "AHEAD_BYTES", 1)
    put: list[object] = []
    original = ReadAhead._put
    monkeypatch.setattr(ReadAhead, "_put", lambda s, e: (original(s, e), put.append(e)))
    with ReadAhead(videos, SETTINGS, 0) as events:
        for taken, _ in enumerate(events):
            # what is taken, what waits, and marks without pictures
            time.sleep(0.01)
            assert len([e for e in put if isinstance(e, Cut)]) <= taken + 2


def test_leaving_early_stops_the_thread(
    videos: list[FoundVideo], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "AHEAD_BYTES", 1)
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
    monkeypatch.setattr(reading, "AHEAD_BYTES", 1)
    with ReadAhead(videos[:1], SETTINGS, 0) as events:
        found = []
        for event in events:
            if not found:
                with videos[0].path.open("ab") as file:
                    file.write(b"more")
            found.append(event)
    assert isinstance(found[-1], Failed)
    assert found[-1].reason.startswith("changed while it was read")


def test_an_error_that_nobody_foresaw_is_one_files(
    videos: list[FoundVideo], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Exploding:
        def __init__(self, path: Path) -> None:
            raise RuntimeError("boom\nand more")

    monkeypatch.setattr(reading, "VideoReader", Exploding)
    with ReadAhead(videos[:2], SETTINGS, 0) as events:
        reasons = [event.reason for event in events if isinstance(event, Failed)]
    assert reasons == ["cannot be read (RuntimeError: boom)"] * 2


@pytest.mark.parametrize(("copies", "fails"), [(2, False), (3, True)])
def test_a_video_of_which_most_is_lost_has_failed(tmp_path: Path, copies: int, fails: bool) -> None:
    path = write_movie(tmp_path / "a.mp4", constant(4, 25))
    path.write_bytes(path.read_bytes() * copies)
    with ReadAhead([FoundVideo("a", path)], SETTINGS, 0) as events:
        last = list(events)[-1]
    if fails:
        assert isinstance(last, Failed)
        assert last.reason.startswith("8.0 of 12.0 s have no pictures, which is too much: 67% of")
    else:
        assert isinstance(last, Done)
        assert last.warning.startswith("50% of the file")


def test_joined_recordings_are_said_and_whole(tmp_path: Path) -> None:
    path = write_movie(tmp_path / "a.ts", constant(3, 25))
    path.write_bytes(path.read_bytes() * 3)
    with ReadAhead([FoundVideo("a", path)], SETTINGS, 0) as events:
        found = list(events)
    done = found[-1]
    assert isinstance(done, Done)
    assert len(found) == 10
    assert done.duration == pytest.approx(9.0, abs=1e-6)
    assert done.warning == "its clock jumps at 3.0, 6.0 s: the next picture follows the last"
