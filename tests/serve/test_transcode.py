from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pytest
from serve.films import RATE, colour_index, film, turned

from dreamprvr.errors import UserError
from dreamprvr.serve.transcode import copy_streams, transcode


class Content(NamedTuple):
    times: list[float]
    colours: list[int]
    size: tuple[int, int]
    sound: np.ndarray  # (n,) mono
    codecs: tuple[str, ...]


def read(path: Path) -> Content:
    times, colours, sound, size = [], [], [], (0, 0)
    with av.open(path) as container:
        codecs = tuple(stream.codec_context.name for stream in container.streams)
        for frame in container.decode(container.streams.video[0]):
            image = frame.to_ndarray(format="rgb24")
            times.append(float(frame.time))
            colours.append(colour_index(image[-1, -1]))
            size = (frame.width, frame.height)
    with av.open(path) as container:
        for frame in container.decode(*container.streams.audio[:1]) if len(codecs) > 1 else ():
            sound.append(frame.to_ndarray().mean(0))
    return Content(times, colours, size, np.concatenate(sound) if sound else np.zeros(0), codecs)


def quiet(done: float) -> None:
    pass


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film(tmp_path_factory.mktemp("films") / "a.mp4", 6.0, gop=60)  # one keyframe


def test_a_span_is_exact(source: Path, tmp_path: Path) -> None:
    transcode(source, tmp_path / "b.mp4", 2.5, 4.5, 1000, quiet)
    content = read(tmp_path / "b.mp4")
    assert content.codecs == ("h264", "aac")
    assert content.times == pytest.approx([i / 10 for i in range(20)], abs=0.001)
    assert content.colours == [2] * 5 + [3] * 10 + [4] * 5
    assert len(content.sound) / 48_000 == pytest.approx(2.0, abs=0.05)


def test_the_sound_is_that_of_the_span(source: Path, tmp_path: Path) -> None:
    transcode(source, tmp_path / "b.mp4", 3.0, 4.0, 1000, quiet)
    sound = read(tmp_path / "b.mp4").sound[12_000:36_000]  # 3.25 to 3.75
    pitch = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))).argmax() * 48_000 / len(sound)
    assert pitch == pytest.approx(300 + 80 * 3.5, abs=25)  # of the tone at 3.5
    assert RATE != 48_000  # it was resampled


def test_the_whole_of_a_strange_file(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mkv", 3.0, "mpeg4", late=4.0, size=(320, 180))
    reports: list[float] = []
    transcode(source, tmp_path / "b.mp4", 0.0, None, 160, reports.append)
    content = read(tmp_path / "b.mp4")
    assert content.times[0] == pytest.approx(0.0, abs=0.05)
    assert content.times[-1] == pytest.approx(2.9, abs=0.05)
    assert content.colours == [0] * 10 + [1] * 10 + [2] * 10
    assert content.size == (160, 90)
    assert reports[-1] == 1.0
    assert reports == sorted(reports)


def test_the_picture_on_the_screen_at_the_start(tmp_path: Path) -> None:
    source = film(tmp_path / "slow.mp4", 6.0, rate=1, sound=False)
    transcode(source, tmp_path / "b.mp4", 2.5, 2.9, 1000, quiet)
    content = read(tmp_path / "b.mp4")
    assert (content.times, content.colours) == ([0.0], [2])


def test_it_is_upright(tmp_path: Path) -> None:
    source = turned(film(tmp_path / "a.mp4", 1.0), tmp_path / "t.mp4")
    transcode(source, tmp_path / "b.mp4", 0.0, None, 1000, quiet)
    assert read(tmp_path / "b.mp4").size == (90, 160)


def test_a_broken_part_is_left_out(source: Path, tmp_path: Path) -> None:
    data = bytearray(film(tmp_path / "a.avi", 4.0, "mpeg4", sound=False, gop=5).read_bytes())
    first, last = data.index(b"movi"), data.index(b"idx1")
    length = (last - first) // 8
    data[(first + last) // 2 : (first + last) // 2 + length] = bytes(length)
    (tmp_path / "a.avi").write_bytes(data)
    transcode(tmp_path / "a.avi", tmp_path / "b.mp4", 0.0, None, 1000, quiet)
    content = read(tmp_path / "b.mp4")
    assert (content.colours[0], content.colours[-1]) == (0, 3)
    assert 20 <= len(content.times) < 40


def test_nothing_there(source: Path, tmp_path: Path) -> None:
    (tmp_path / "words.mp4").write_text("words")
    with pytest.raises(UserError, match="cannot be decoded"):
        transcode(tmp_path / "words.mp4", tmp_path / "b.mp4", 0.0, 1.0, 1000, quiet)


@pytest.mark.parametrize("copy", [False, True])
def test_it_can_be_stopped(source: Path, tmp_path: Path, copy: bool) -> None:
    def stop(done: float) -> None:
        if done > 0.3:
            raise KeyboardInterrupt

    work: Callable[[], None] = (
        (lambda: copy_streams(source, tmp_path / "b.mp4", stop))
        if copy
        else (lambda: transcode(source, tmp_path / "b.mp4", 0.0, None, 1000, stop))
    )
    with pytest.raises(KeyboardInterrupt):
        work()


def test_copies_are_the_same_pictures(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mkv", 3.0)
    copy_streams(source, tmp_path / "b.mp4", quiet)
    before, after = read(source), read(tmp_path / "b.mp4")
    assert after.times == pytest.approx(before.times, abs=0.002)
    assert after.colours == before.colours
    assert after.codecs == ("h264", "aac")
    assert len(after.sound) == pytest.approx(len(before.sound), abs=2048)
