from pathlib import Path

import av
import numpy as np
import pytest
from av.packet import Packet
from serve.films import film
from starlette.exceptions import HTTPException
from video.odd_files import with_packets

from dreamprvr.search.results import LibraryVideo
from dreamprvr.serve.containers import NotPlayable, Probe, probe, source_file


def video(path: Path | None) -> LibraryVideo:
    return LibraryVideo("v", path, 1.0, {})


@pytest.mark.parametrize(
    ("name", "settings", "mime"),
    [
        ("a.mp4", {}, 'video/mp4; codecs="avc1.64000a,mp4a.40.2"'),
        ("a.mov", {"sound": False}, 'video/mp4; codecs="avc1.64000a"'),
        ("a.webm", {"codec": "libvpx"}, 'video/webm; codecs="vp8,opus"'),
        ("a.mkv", {}, 'video/x-matroska; codecs="avc1.64000a,mp4a.40.2"'),
        ("b.mkv", {"codec": "mpeg4"}, 'video/x-matroska; codecs="mp4v.20.9,mp4a.40.2"'),
        ("b.mp4", {"codec": "libx265", "sound": False}, 'video/mp4; codecs="hvc1.1.6.L120.B0"'),
        # browsers have no time stamps, or other ones, in these
        ("a.avi", {"codec": "mpeg4", "sound": False}, None),
        ("a.ts", {}, None),
        # the last three seconds of these could not be reached
        ("late.mp4", {"late": 3.0}, None),
        ("late.mkv", {"late": 3.0}, None),
        ("late.webm", {"codec": "libvpx", "late": 3.0}, None),
    ],
)
def test_types_that_browsers_are_asked_about(
    tmp_path: Path, name: str, settings: dict[str, object], mime: str | None
) -> None:
    path = film(tmp_path / name, 1.0, **settings)  # type: ignore[arg-type]
    found = probe(source_file(video(path)))
    assert found == Probe(mime, 1.0, settings.get("sound", True) is True)


def test_the_length_that_the_file_says_if_the_library_says_none(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", 2.0, sound=False)
    assert probe(source_file(LibraryVideo("v", path, 0.0, {}))).seconds == pytest.approx(2.0)


@pytest.mark.parametrize(
    "text", [b"", b"just words", b"#EXTM3U\n#EXTINF:5,\nreal.mp4\n",
             b"ffconcat version 1.0\nfile real.mp4\n",
             b"\x89PNG\r\n\x1a\n"],
)  # fmt: skip
def test_files_that_are_no_videos(tmp_path: Path, text: bytes) -> None:
    """Playlists and scripts among them: they would open the other file."""
    film(tmp_path / "real.mp4", 1.0)
    path = tmp_path / "fake.mp4"
    path.write_bytes(text)
    with pytest.raises(
        NotPlayable, match=r"^fake\.mp4: (an empty file|not a video that can be read)"
    ):
        probe(source_file(video(path)))


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "tone.mp4"
    with av.open(path, "w") as writer:
        stream = writer.add_stream("aac", rate=44_100, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44_100), np.float32), "fltp", "mono")
        frame.sample_rate = 44_100
        writer.mux(stream.encode(frame))
        writer.mux(stream.encode(None))
    with pytest.raises(NotPlayable, match=r"tone\.mp4: only sound"):
        probe(source_file(video(path)))


def test_files_that_are_not_there(tmp_path: Path) -> None:
    for path in (None, tmp_path / "no.mp4", tmp_path, Path("a\0b")):
        with pytest.raises(HTTPException, match="is not where it was") as caught:
            source_file(video(path))
        assert caught.value.status_code == 404
        assert str(tmp_path) not in caught.value.detail


def test_a_header_that_is_too_short_is_not_played(tmp_path: Path) -> None:
    """Recordings joined in one file: browsers would play only the first."""
    path = film(tmp_path / "a.webm", 3.0, "libvpx")
    whole = LibraryVideo("v", path, 6.0, {})
    assert probe(source_file(whole)).mime is None
    assert (
        probe(source_file(LibraryVideo("v", path, 3.1, {}))).mime == 'video/webm; codecs="vp8,opus"'
    )


def test_a_clock_that_was_taken_for_a_new_one_is_not_played(tmp_path: Path) -> None:
    """Pictures behind a pause of 25 hours follow at once in the library, but not in a browser."""

    def late(number: int, packet: Packet) -> None:
        if number >= 30:
            packet.pts += round(25 * 3600 / packet.time_base)
            packet.dts += round(25 * 3600 / packet.time_base)

    plain = film(tmp_path / "a.mkv", 6.0, sound=False)
    paused = with_packets(plain, tmp_path / "b.mkv", late)
    assert probe(source_file(LibraryVideo("v", plain, 6.0, {}))).mime is not None
    assert probe(source_file(LibraryVideo("v", paused, 6.0, {}))).mime is None
    assert probe(source_file(LibraryVideo("v", paused, 25 * 3600 + 6.0, {}))).mime is not None
