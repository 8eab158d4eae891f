"""If a clock jumps, the time continues after the last picture, and no second is missing."""

from pathlib import Path

import numpy as np
import pytest
from av.packet import Packet
from extraction.movies import constant, seconds_of, write_movie
from shared import DATA, needs_data
from video.odd_files import joined, right_rows, rows_of, with_packets

from dreamprvr.video.reader import VideoReader

CODECS = {"mpg": "mpeg2video", "vob": "mpeg2video", "webm": "libvpx"}


@pytest.mark.parametrize("ending", ["ts", "m2ts", "mpg", "vob", "mkv", "webm"])
def test_recordings_joined_by_cat(tmp_path: Path, ending: str) -> None:
    codec = CODECS.get(ending, "libx264")
    rows, reader = rows_of(joined(tmp_path / f"a.{ending}", [4, 4], [0, 0], codec=codec))
    assert rows == right_rows(8)
    assert reader.end == pytest.approx(8.0, abs=1e-6)
    assert reader.warnings == ["its clock jumps at 4.0 s: the next picture follows the last"]
    assert reader.lost == 0


# Seconds at which the clock of the second recording begins; the first one ends at 4.
@pytest.mark.parametrize("begin", [0.0, 3.0, 3.8, 3.92, 3.96, 24.0, 5000.0, 90_000.0])
@pytest.mark.parametrize("reordered", [0, 2])
def test_jumps_of_any_size(tmp_path: Path, begin: float, reordered: int) -> None:
    rows, reader = rows_of(joined(tmp_path / "a.ts", [4, 4], [0, begin], reordered=reordered))
    assert rows == right_rows(8)
    assert reader.end == pytest.approx(8.0, abs=1e-6)


def test_a_recording_without_reordered_pictures_behind_one_with_them(tmp_path: Path) -> None:
    """Their first pictures come at other distances from the time of decoding."""
    data = b""
    for number, reordered in enumerate((2, 0, 2)):
        times = constant(2, 25, number * 2)
        part = tmp_path / "part.ts"
        write_movie(part, times, shift=-number * 2, reordered=reordered, keyframes=25)
        data += part.read_bytes()
    (tmp_path / "a.ts").write_bytes(data)
    rows, _ = rows_of(tmp_path / "a.ts")
    assert rows == right_rows(6)


def test_several_joins_also_within_a_window(tmp_path: Path) -> None:
    path = joined(tmp_path / "a.ts", [2.4, 1.8, 3.0, 0.8], [0, 500, 10, 3])
    rows, reader = rows_of(path)
    assert rows == right_rows(8)
    assert reader.warnings == [
        "its clock jumps at 2.4, 4.2, 7.2 s: the next picture follows the last"
    ]


@pytest.mark.parametrize("reordered", [0, 2])
@pytest.mark.parametrize("jump", [30.0, 5000.0])
def test_a_jump_between_keyframes(tmp_path: Path, jump: float, reordered: int) -> None:
    """A sender sets its clock during encoding."""
    settings = {"keyframes": 500, "reordered": reordered}
    source = write_movie(tmp_path / "a.ts", constant(8, 25), **settings)  # type: ignore[arg-type]

    def late(number: int, packet: Packet) -> None:
        if number >= 96:
            packet.pts += round(jump / packet.time_base)
            packet.dts += round(jump / packet.time_base)

    rows, reader = rows_of(with_packets(source, tmp_path / "b.ts", late))
    assert rows == right_rows(8)
    assert len(reader.warnings) == 1
    assert reader.warnings[0].startswith("its clock jumps at 3.")


def test_recordings_that_number_their_streams_otherwise(tmp_path: Path) -> None:
    """The demultiplexer drops the picture that is under way when the numbers change."""
    parts = []
    for number, first in enumerate(("256", "400", "300")):
        times = constant(4, 25, 4 * number)
        part = write_movie(
            tmp_path / "part.ts", times, shift=-4 * number, keyframes=25, mpegts_start_pid=first
        )
        parts.append(part.read_bytes())
    path = tmp_path / "a.ts"
    path.write_bytes(b"".join(parts))
    rows, reader = rows_of(path)
    np.testing.assert_allclose(np.array(rows), np.array(right_rows(12)), atol=0.081)
    assert reader.end == pytest.approx(12.0, abs=0.09)


def test_another_programme_after_the_first_is_reported(tmp_path: Path) -> None:
    path = write_movie(tmp_path / "a.ts", constant(4, 25), keyframes=25)
    other = write_movie(
        tmp_path / "b.ts", constant(4, 25, 4), keyframes=25, mpegts_start_pid="400",
        mpegts_pmt_start_pid="4000", mpegts_service_id="7",
    )  # fmt: skip
    path.write_bytes(path.read_bytes() + other.read_bytes())
    rows, reader = rows_of(path)
    assert rows == right_rows(4)
    assert reader.warnings[0].endswith("it seems to be several files in one")
    assert reader.lost == pytest.approx(4.0, abs=0.3)


def test_the_33_bits_of_a_transport_stream_run_over(tmp_path: Path) -> None:
    begin = 2**33 / 90_000 - 3.96
    path = write_movie(tmp_path / "a.ts", constant(8, 25), shift=begin, keyframes=25)
    rows, reader = rows_of(path)
    assert rows == right_rows(8)
    assert reader.warnings == []


def test_pictures_are_never_reordered_by_mistake(tmp_path: Path) -> None:
    """Ordinary files have no joins, whatever the order in which they are decoded."""
    for ending in ("ts", "mkv", "mp4", "flv"):
        path = write_movie(tmp_path / f"a.{ending}", constant(4, 25), keyframes=12, reordered=3)
        reader = VideoReader(path)
        shown = [(picture.begin, seconds_of(picture.pixels())) for picture in reader]
        np.testing.assert_allclose([s[1] for s in shown], constant(4, 25), atol=0.006)
        np.testing.assert_allclose([s[0] for s in shown], constant(4, 25), atol=0.002)
        assert reader.warnings == []


def test_a_pause_in_a_file_with_an_index_is_real(tmp_path: Path) -> None:
    """The next pictures are hours later, and a line reports the pause."""
    times = constant(2, 25) + constant(2, 25, 7200)
    reader = VideoReader(write_movie(tmp_path / "a.mkv", times, keyframes=25))
    shown = list(reader)
    assert shown[50].begin == pytest.approx(7200, abs=0.002)
    assert shown[49].end == shown[50].begin
    assert reader.warnings == ["no new picture for 7198.0 s, from 2.0 s on"]
    assert reader.lost == 0


def test_a_hole_in_a_transport_stream_is_lost(tmp_path: Path) -> None:
    """Players stand still for it; nobody recorded it."""
    rows, reader = rows_of(joined(tmp_path / "a.ts", [4, 4], [0, 7]))
    assert len(rows) == 11
    assert rows[:4] == right_rows(4)
    assert [row[1] for row in rows[7:]] == pytest.approx([4.88, 5.88, 6.88, 7.88])
    assert reader.warnings == ["incomplete: 3.0 s have no pictures"]
    assert reader.lost == pytest.approx(3.0, abs=0.05)
    assert reader.length == pytest.approx(11.0, abs=0.05)


@needs_data
@pytest.mark.parametrize("name", ["concatenated.ts", "jump5000.ts"])
def test_files_from_outside(name: str) -> None:
    rows, reader = rows_of(DATA / "hard_inputs" / name)
    assert rows == right_rows(8)
    assert reader.end == pytest.approx(8.0, abs=1e-6)


@needs_data
def test_the_pause_of_two_hours() -> None:
    reader = VideoReader(DATA / "hard_inputs" / "gap2h.mkv")
    last = list(reader)[-100:]
    assert (last[0].begin, last[-1].end) == (7204.0, 7208.0)
    assert reader.warnings == ["no new picture for 7200.0 s, from 4.0 s on"]
