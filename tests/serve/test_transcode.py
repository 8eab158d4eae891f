from pathlib import Path

import av
import numpy as np
import pytest
from serve.films import RATE, film, read, turned

from dreamprvr.serve.containers import NotPlayable
from dreamprvr.serve.transcode import RATE as SAMPLES
from dreamprvr.serve.transcode import Sound, fitted, transcode


def length(path: Path) -> float:
    with av.open(path) as container:
        return float((container.duration or 0) / av.time_base)


def quiet() -> None:
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


def test_a_whole_file_of_another_format(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mkv", 3.0, "mpeg4", late=4.0, size=(320, 180))
    transcode(source, tmp_path / "b.mp4", 0.0, 7.0, 160, quiet)
    content = read(tmp_path / "b.mp4")
    assert content.times[0] == 0.0  # the first picture waits for the second
    assert content.times[1] == pytest.approx(4.1, abs=0.05)
    assert content.times[-1] == pytest.approx(6.9, abs=0.05)
    assert content.colours == [0] * 10 + [1] * 10 + [2] * 10
    assert content.size == (160, 90)
    assert len(content.sound) / 48_000 == pytest.approx(7.0, abs=0.05)
    assert np.abs(content.sound[: 3 * 48_000]).max() < 0.01 < np.abs(content.sound).max()


def test_the_picture_on_the_screen_at_the_start(tmp_path: Path) -> None:
    source = film(tmp_path / "slow.mp4", 6.0, rate=1, sound=False)
    transcode(source, tmp_path / "b.mp4", 2.5, 2.9, 1000, quiet)
    content = read(tmp_path / "b.mp4")
    assert (content.times, content.colours) == ([0.0], [2])
    assert length(tmp_path / "b.mp4") == pytest.approx(0.4, abs=0.01)


def test_few_pictures_last_as_long_as_the_span(tmp_path: Path) -> None:
    source = film(tmp_path / "slow.mp4", 6.0, rate=1, sound=False)
    transcode(source, tmp_path / "b.mp4", 1.5, 4.25, 1000, quiet)
    content = read(tmp_path / "b.mp4")
    assert content.times == pytest.approx([0.0, 0.5, 1.5, 2.5], abs=0.001)
    assert length(tmp_path / "b.mp4") == pytest.approx(2.75, abs=0.01)


def test_a_late_start(tmp_path: Path) -> None:
    """A moment of an mp4 that starts at 3 s is cut where a browser shows it."""
    source = film(tmp_path / "late.mp4", 4.0, late=3.0, gop=60)
    transcode(source, tmp_path / "b.mp4", 4.5, 5.5, 1000, quiet)
    assert read(tmp_path / "b.mp4").colours == [1] * 5 + [2] * 5


@pytest.mark.parametrize(("ending", "codec"), [("ts", "libx264"), ("flv", "libx264")])
def test_a_format_without_an_index(tmp_path: Path, ending: str, codec: str) -> None:
    source = film(tmp_path / f"a.{ending}", 12.0, codec, gop=60, sound=False)
    for start in (0.5, 5.5, 10.5):
        transcode(source, tmp_path / "b.mp4", start, start + 1.0, 1000, quiet)
        second = int(start) % 6
        assert read(tmp_path / "b.mp4").colours == [second] * 5 + [(second + 1) % 6] * 5


def test_a_span_after_the_end_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(NotPlayable, match=r"a\.mp4 ends before second 7\.0"):
        transcode(source, tmp_path / "b.mp4", 7.0, 9.0, 1000, quiet)


def test_turned_videos_are_made_upright(tmp_path: Path) -> None:
    source = turned(film(tmp_path / "a.mp4", 1.0), tmp_path / "t.mp4")
    transcode(source, tmp_path / "b.mp4", 0.0, 1.0, 1000, quiet)
    assert read(tmp_path / "b.mp4").size == (90, 160)


def test_a_broken_part_is_left_out(source: Path, tmp_path: Path) -> None:
    data = bytearray(film(tmp_path / "a.avi", 4.0, "mpeg4", sound=False, gop=5).read_bytes())
    first, last = data.index(b"movi"), data.index(b"idx1")
    length = (last - first) // 8
    data[(first + last) // 2 : (first + last) // 2 + length] = bytes(length)
    (tmp_path / "a.avi").write_bytes(data)
    transcode(tmp_path / "a.avi", tmp_path / "b.mp4", 0.0, 4.0, 1000, quiet)
    content = read(tmp_path / "b.mp4")
    assert (content.colours[0], content.colours[-1]) == (0, 3)
    assert 20 <= len(content.times) < 40


def test_a_file_of_words_is_refused(source: Path, tmp_path: Path) -> None:
    (tmp_path / "words.mp4").write_text("words")
    with pytest.raises(NotPlayable, match="not a video that can be read"):
        transcode(tmp_path / "words.mp4", tmp_path / "b.mp4", 0.0, 1.0, 1000, quiet)


def test_encoding_can_be_stopped(source: Path, tmp_path: Path) -> None:
    calls = []

    def stop() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        transcode(source, tmp_path / "b.mp4", 0.0, 6.0, 1000, stop)
    assert len(calls) == 3


def test_a_single_picture_with_sound(tmp_path: Path) -> None:
    with av.open(tmp_path / "a.mkv", "w") as writer:
        video = writer.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = writer.add_stream("aac", rate=48_000, layout="mono")
        picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 200, np.uint8), "rgb24")
        picture.pts = 0
        writer.mux([*video.encode(picture), *video.encode(None)])
        tone = np.sin(np.arange(5 * 48_000) / 20).astype(np.float32)[None]
        sound = av.AudioFrame.from_ndarray(tone, "fltp", "mono")
        sound.sample_rate = 48_000
        writer.mux([*audio.encode(sound), *audio.encode(None)])
    transcode(tmp_path / "a.mkv", tmp_path / "b.mp4", 0.0, 5.0, 1000, quiet)
    content = read(tmp_path / "b.mp4")
    assert content.times == [0.0]
    assert len(content.sound) / 48_000 == pytest.approx(5.0, abs=0.1)
    assert np.abs(content.sound).max() > 0.5


@pytest.mark.parametrize(
    ("size", "longest", "expected"),
    [((160, 90), 1000, (160, 90)), ((160, 90), 100, (100, 56)), ((1000, 1), 50, (50, 2)),
     ((33.3, 21.0), 100, (34, 20))],
)  # fmt: skip
def test_sizes_are_even_and_never_larger(
    size: tuple[float, float], longest: int, expected: tuple[int, int]
) -> None:
    class Picture:
        pass

    picture = Picture()
    picture.size = size  # type: ignore[attr-defined]
    assert fitted(picture, longest) == expected  # type: ignore[arg-type]


def test_sound_lies_on_one_clock() -> None:
    """A little jitter of the stamps is ignored, a hole is silence, and the past is forgotten."""

    def tone(value: float, samples: int = SAMPLES) -> av.AudioFrame:
        frame = av.AudioFrame.from_ndarray(np.full((1, samples), value, np.float32), "fltp", "mono")
        frame.sample_rate = SAMPLES
        return frame

    sound = Sound()
    sound.hear(1.0, tone(0.5))
    sound.hear(2.05, tone(0.25))  # 0.05 s late: no hole
    sound.hear(4.0, tone(0.125))
    assert sound.end == 5 * SAMPLES
    taken = sound.take(0, 6 * SAMPLES)
    assert taken.shape == (2, 6 * SAMPLES)
    loud = [float(np.abs(taken[0, round((s + 0.5) * SAMPLES)])) for s in range(6)]
    assert loud == pytest.approx([0, 0.354, 0.177, 0, 0.088, 0], abs=0.2)
    assert (np.array(loud) > 0).tolist() == [False, True, True, False, True, False]
    assert np.abs(sound.take(3 * SAMPLES, 4 * SAMPLES)).max() == 0
    assert np.abs(sound.take(SAMPLES, 2 * SAMPLES)).max() == 0  # forgotten
    sound.hear(90_000.0, tone(0.5))  # a day of silence takes no memory, and moves nothing
    assert sound.end == 90_001 * SAMPLES
    assert np.abs(sound.take(4 * SAMPLES, 5 * SAMPLES)).min() > 0
    assert np.abs(sound.take(90_000 * SAMPLES, 90_001 * SAMPLES)).min() > 0
