"""Pictures and their seconds, in files of many kinds. Each picture shows its own time."""

from pathlib import Path

import av
import numpy as np
import pytest
from av.video.stream import VideoStream
from extraction.movies import SIZE, constant, seconds_of, write_movie

from dreamprvr.video import reader as module
from dreamprvr.video.reader import VideoReader
from dreamprvr.video.source import VideoError


def shown(reader: VideoReader) -> list[tuple[float, float, float]]:
    """(begin, end, time that the picture shows) of all pictures."""
    return [(p.begin, p.end, seconds_of(p.pixels())) for p in reader]


def assert_true(found: list[tuple[float, float, float]], times: list[float]) -> None:
    """Each picture is there, and on the screen from the second that it shows."""
    np.testing.assert_allclose([f[2] for f in found], times, atol=0.006)
    np.testing.assert_allclose([f[0] for f in found], times, atol=0.002)
    assert [f[1] for f in found[:-1]] == [f[0] for f in found[1:]]


UNEVEN = [0, 0.1, 0.2, 1.7, 1.8, 1.9, 2.0, 4.0, 4.1, 5.0]
CASES = {
    "constant.mp4": {"times": constant(3, 10)},
    "ntsc.mp4": {"times": constant(2, 30000 / 1001)},
    "uneven.mp4": {"times": UNEVEN},
    "uneven.mkv": {"times": UNEVEN, "audio": (0, 5)},
    "vp9.webm": {"times": constant(2, 10), "codec": "libvpx-vp9"},
    "mpeg4.avi": {"times": constant(2, 25), "codec": "mpeg4"},
    "odd_size.mp4": {"times": constant(1, 10), "size": (144, 98)},
}


@pytest.mark.parametrize("name", CASES)
def test_every_picture_at_its_time(tmp_path: Path, name: str) -> None:
    case = dict(CASES[name])
    path = write_movie(tmp_path / name, **case)
    reader = VideoReader(path)
    found = shown(reader)
    times = case["times"]
    assert_true(found, times)
    assert reader.warnings == []
    assert reader.end == found[-1][1]
    assert times[-1] < reader.end <= times[-1] + 0.11


# Chromium 156 was asked what it shows at each second of these files; the picture of 3 s is at 3.
LATE = {
    "late_picture.mp4": {"audio": (0, 7)},
    "late_picture.mkv": {"audio": (0, 7)},
    "late_picture.webm": {"audio": (0, 7), "codec": "libvpx"},
    "late_both.mp4": {"audio": (3, 7)},
    "late_both.webm": {"audio": (3, 7), "codec": "libvpx"},
    "late.mp4": {},
    "late.webm": {"codec": "libvpx"},
}


@pytest.mark.parametrize("name", LATE)
def test_late_starts_count_as_a_browser_does(tmp_path: Path, name: str) -> None:
    times = constant(4, 10, start=3)
    reader = VideoReader(write_movie(tmp_path / name, times, **LATE[name]))
    assert_true(shown(reader), times)
    assert reader.warnings == []


def test_a_fragmented_mp4_forgets_that_it_started_late(tmp_path: Path) -> None:
    path = tmp_path / "late.mp4"
    write_movie(path, constant(4, 10, start=3), movflags="frag_keyframe+empty_moov")
    found = shown(VideoReader(path))
    np.testing.assert_allclose([f[0] - f[2] for f in found], -3, atol=0.002)


def test_transport_streams_count_from_their_own_start(tmp_path: Path) -> None:
    """No browser plays them; their time stamps begin anywhere."""
    path = write_movie(tmp_path / "late.ts", constant(4, 10, start=3), audio=(1, 7))
    found = shown(VideoReader(path))
    np.testing.assert_allclose([f[0] - f[2] for f in found], -1, atol=0.03)
    path = write_movie(tmp_path / "alone.ts", constant(4, 10, start=3))
    assert shown(VideoReader(path))[0][0] == 0


def test_sound_that_begins_late_moves_nothing(tmp_path: Path) -> None:
    times = constant(4, 10)
    assert_true(shown(VideoReader(write_movie(tmp_path / "a.mp4", times, audio=(2, 4)))), times)


@pytest.mark.skipif(
    not hasattr(VideoStream, "set_display_rotation"), reason="this PyAV cannot write such files"
)
@pytest.mark.parametrize("turn", [90, -90, 180])
def test_pictures_stand_upright(tmp_path: Path, turn: int) -> None:
    """Chromium shows the same files upright."""
    times = constant(1, 10)
    reader = VideoReader(write_movie(tmp_path / "a.mp4", times, turn=turn))
    pictures = [picture.pixels() for picture in reader]
    assert {picture.shape for picture in pictures} == {(SIZE[1], SIZE[0], 3)}
    np.testing.assert_allclose([seconds_of(p) for p in pictures], times, atol=0.006)


def test_the_sound_may_be_longer(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.mkv"):
        reader = VideoReader(write_movie(tmp_path / name, constant(2, 10), audio=(0, 9)))
        assert shown(reader)[-1][1] < 2.2
        assert reader.warnings == []


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_a_truncated_file_is_reported(tmp_path: Path, name: str) -> None:
    times = constant(20, 10)
    options = {"movflags": "faststart"} if name.endswith("mp4") else {}
    path = write_movie(tmp_path / name, times, **options)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    reader = VideoReader(path)
    found = shown(reader)
    assert 5 < reader.end < 15
    assert_true(found[:40], times[:40])
    assert reader.warnings[0] == (
        f"truncated: ends at {reader.end:.1f} s, and its header says {reader.expected_end:.1f} s"
    )
    assert reader.expected_end == pytest.approx(20, abs=0.2)


def test_damage_in_the_middle_is_read_over(tmp_path: Path) -> None:
    times = constant(20, 10)
    path = write_movie(tmp_path / "a.mp4", times, keyframes=10)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = bytes(2000)
    path.write_bytes(data)
    reader = VideoReader(path)
    found = shown(reader)
    assert found[0][2] == 0
    assert found[-1][2] == times[-1]
    assert any(text.startswith("damaged: ") for text in reader.warnings)


def test_files_without_pictures(tmp_path: Path) -> None:
    write_movie(tmp_path / "sound.mp4", [], audio=(0, 1))
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no video\n" * 100)
    (tmp_path / "folder.mp4").mkdir()
    whole = write_movie(tmp_path / "whole.mp4", constant(2, 10)).read_bytes()
    (tmp_path / "headless.mp4").write_bytes(whole[: len(whole) // 2])
    reasons = {
        "sound": "^only sound$", "empty": "^an empty file$", "folder": "^not a file$",
        "text": "^not a video that can be read", "headless": "^not a video that can be read",
        "gone": "^No such file or directory$",
    }  # fmt: skip
    for name, reason in reasons.items():
        with pytest.raises(VideoError, match=reason):
            list(VideoReader(tmp_path / f"{name}.mp4"))


def test_playlists_are_not_followed(tmp_path: Path) -> None:
    """A file of any name may be a list of other files or addresses."""
    write_movie(tmp_path / "secret.ts", constant(1, 10))
    lists = {
        "a.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.ts\n#EXT-X-ENDLIST\n",
        "a.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.ts\n#EXT-X-ENDLIST\n",
        "b.mp4": "ffconcat version 1.0\nfile secret.ts\n",
    }
    for name, text in lists.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(VideoError, match="not a video that can be read"):
            list(VideoReader(tmp_path / name))


def test_large_pictures_are_shrunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_movie(tmp_path / "a.mp4", constant(0.5, 10), size=(256, 128))
    monkeypatch.setattr(module, "MAX_SHORT_SIDE", 64)
    pictures = [picture.pixels() for picture in VideoReader(path)]
    assert {picture.shape for picture in pictures} == {(64, 128, 3)}
    assert [seconds_of(p) for p in pictures] == [0, 0.1, 0.2, 0.3, 0.4]


def test_seconds_without_pictures_are_counted(tmp_path: Path) -> None:
    """Packets without a picture are lost; the number in the header is not used."""
    times = constant(20, 25)
    path = write_movie(tmp_path / "a.mkv", times, keyframes=25)
    data = bytearray(path.read_bytes())
    with av.open(path) as container:
        packets = [p for p in container.demux(video=0) if p.size]
        for packet in packets[100:200]:  # seconds 4 to 8
            begin = data.index(bytes(packet), packet.pos)
            data[begin : begin + packet.size] = bytes(packet.size)
    path.write_bytes(data)
    reader = VideoReader(path)
    found = shown(reader)
    assert reader.lost == pytest.approx(4.0, abs=0.2)
    assert reader.length == pytest.approx(20.0, abs=0.05)
    assert found[0][:1] + found[-1][2:] == (0.0, 19.96)
    assert len(reader.warnings) == 1
    assert reader.warnings[0].endswith(f"{reader.lost:.1f} s have no pictures")


def test_pictures_that_are_rare_are_not_lost(tmp_path: Path) -> None:
    for name in ("a.mkv", "a.mp4", "a.ts"):
        reader = VideoReader(write_movie(tmp_path / name, [0, 3, 6, 9, 12, 15]))
        assert len(shown(reader)) == 6
        assert (reader.lost, reader.warnings) == (0, [])


@pytest.mark.parametrize("ending", ["mp4", "flv"])
def test_a_second_file_after_the_first_is_reported(tmp_path: Path, ending: str) -> None:
    """Players show only the first, and so do we; but half of the file is more than a detail."""
    path = write_movie(tmp_path / f"a.{ending}", constant(4, 25))
    path.write_bytes(path.read_bytes() * 2)
    reader = VideoReader(path)
    assert len(shown(reader)) == 100
    assert reader.warnings == [
        "50% of the file lie behind its end, and are not read: it seems to be several files in one"
    ]
    assert reader.lost == pytest.approx(4.0, abs=0.1)
    assert reader.length == pytest.approx(8.0, abs=0.1)


def test_a_recording_that_begins_between_keyframes(tmp_path: Path) -> None:
    path = write_movie(tmp_path / "a.ts", constant(8, 25), keyframes=75)
    data = path.read_bytes()
    with av.open(path) as container:
        packets = [p for p in container.demux(video=0) if p.size]
    cut = packets[50].pos  # second 2; the next keyframe is at 3
    path.write_bytes(data[: 188 * 3] + data[cut:])  # tables of the streams come first
    reader = VideoReader(path)
    found = shown(reader)
    assert found[-1][2] == 7.96
    assert found[-1][0] == pytest.approx(5.96, abs=0.05)
    assert reader.lost == pytest.approx(1.0 if found[0][2] == 3.0 else 0.0, abs=0.1)
