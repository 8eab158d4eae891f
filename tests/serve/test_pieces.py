import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from serve.films import COLOURS, colour_index, film
from video.odd_files import with_packets

from dreamprvr.search.results import LibraryVideo
from dreamprvr.serve import pieces as pieces_module
from dreamprvr.serve.containers import NotPlayable, SourceFile, source_file
from dreamprvr.serve.pieces import SECONDS, Passes, count
from dreamprvr.serve.transcode import BLOCK, RATE
from dreamprvr.serve.workers import Stopped


@pytest.fixture
def passes() -> Iterator[Passes]:
    passes = Passes()
    yield passes
    passes.close_idle(0.0)


def quiet() -> None:
    pass


def source(path: Path) -> SourceFile:
    return source_file(LibraryVideo("v", path, 0.0, {}))


def joined(paths: list[Path]) -> tuple[list[float], list[int], list[float], np.ndarray]:
    """Times and colours of the pictures, times of the packets of sound, and the sound itself.

    The pieces are decoded as one stream, as a player decodes them.
    """
    times, colours, stamps, sound = [], [], [], []
    decoder = av.CodecContext.create("aac", "r")
    for path in paths:
        with av.open(path) as container:
            for frame in container.decode(video=0):
                times.append(float(frame.time))
                colours.append(colour_index(frame.to_ndarray(format="rgb24")[-1, -1]))
        with av.open(path) as container:
            for stream in container.streams.audio:
                decoder.extradata = decoder.extradata or stream.codec_context.extradata
                for packet in container.demux(stream):
                    if packet.size:
                        stamps.append(float(packet.pts * packet.time_base))
                        sound += [piece.to_ndarray()[0] for piece in decoder.decode(packet)]
    return times, colours, stamps, np.concatenate(sound) if sound else np.zeros(0)


def made(passes: Passes, path: Path, numbers: list[int]) -> list[Path]:
    targets = [path.with_name(f"piece{place}.mp4") for place, _ in enumerate(numbers)]
    for number, target in zip(numbers, targets, strict=True):
        passes.write(source(path), number, target, quiet)
    return targets


@pytest.mark.parametrize("seeks", [False, True], ids=["in a row", "each sought"])
@pytest.mark.parametrize(
    ("ending", "codec"), [("avi", "mpeg4"), ("mkv", "libx265"), ("ts", "libx264")]
)
def test_pieces_fit_together(
    passes: Passes, tmp_path: Path, ending: str, codec: str, seeks: bool
) -> None:
    path = film(tmp_path / f"a.{ending}", 7.0, codec, gop=100, sound=ending == "mkv")
    numbers = list(range(count(7.0)))
    paths = made(passes, path, numbers[::-1])[::-1] if seeks else made(passes, path, numbers)
    times, colours, stamps, sound = joined(paths)
    assert times == pytest.approx([i / 10 for i in range(70)], abs=0.001)
    assert colours == [i // 10 % len(COLOURS) for i in range(70)]
    if ending == "mkv":
        # no packet twice or missing, and no click where two pieces meet
        assert np.diff(stamps) == pytest.approx(BLOCK / RATE, abs=1e-4)
        for second in (2, 4):
            meeting = sound[second * RATE - 3000 : second * RATE + 3000]
            assert np.abs(np.diff(meeting, 2)).max() < 0.02


def test_the_next_piece_needs_no_seek(
    passes: Passes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = film(tmp_path / "a.mkv", 9.0, "mpeg4")
    other = film(tmp_path / "b.mkv", 9.0, "mpeg4")
    opened: list[float] = []
    real = pieces_module.Cutter

    class Counted(real):  # type: ignore[misc, valid-type]
        def __init__(self, path: Path, start: float, longest: int) -> None:
            opened.append(start)
            super().__init__(path, start, longest)

    monkeypatch.setattr(pieces_module, "Cutter", Counted)
    made(passes, path, [1, 2])
    made(passes, other, [0])  # another player meanwhile
    made(passes, path, [3, 4])
    assert opened == [SECONDS, 0.0]
    made(passes, path, [1])
    assert opened == [SECONDS, 0.0, SECONDS]


def test_few_passes_are_held_and_none_for_long(
    passes: Passes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = film(tmp_path / "a.mkv", 40.0, "mpeg4", sound=False)
    made(passes, path, [0, 2, 4, 6, 8, 10, 12])
    assert [one.number for one in passes._held] == [7, 9, 11, 13]
    monkeypatch.setattr(time, "monotonic", lambda: 1e9)
    passes.close_idle()
    assert passes._held == []


def test_a_player_that_leaves_ends_the_work(passes: Passes, tmp_path: Path) -> None:
    path = film(tmp_path / "a.mkv", 4.0, "mpeg4")
    calls = []

    def leave() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise Stopped

    with pytest.raises(Stopped):
        passes.write(source(path), 0, tmp_path / "piece.mp4", leave)
    assert passes._held == []


def test_the_end_of_a_video(passes: Passes, tmp_path: Path) -> None:
    path = film(tmp_path / "a.mkv", 4.5, "mpeg4")
    (piece,) = made(passes, path, [4])
    with av.open(piece) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    assert float((packets[-1].pts + packets[-1].duration) * packets[-1].time_base) == 4.5
    with pytest.raises(NotPlayable, match=r"a\.mkv ends before second 5\.0"):
        made(passes, path, [5])
    lengths = (0.0, 0.1, 1.0, 1.0005, 1.1, 600.0)
    assert [count(seconds) for seconds in lengths] == [1, 1, 1, 1, 2, 600]


def test_a_pause_shows_the_last_picture(passes: Passes, tmp_path: Path) -> None:
    def late(number: int, packet: av.Packet) -> None:
        if number >= 10:
            packet.pts += round(6 / packet.time_base)
            packet.dts += round(6 / packet.time_base)

    plain = film(tmp_path / "plain.mkv", 2.0, sound=False, gop=10)
    path = with_packets(plain, tmp_path / "a.mkv", late)
    times, colours, _, _ = joined(made(passes, path, range(8)))
    assert (times[10:16], colours[10:16]) == ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [0] * 6)
    assert times[16] == pytest.approx(7.0, abs=0.001)
    assert colours[16:] == [1] * 10


def test_the_first_picture_is_shown_from_the_beginning(passes: Passes, tmp_path: Path) -> None:
    path = film(tmp_path / "a.mkv", 1.0, late=5.0)
    times, colours, stamps, _ = joined(made(passes, path, range(6)))
    assert (times[:6], colours[:6]) == ([0.0, 1.0, 2.0, 3.0, 4.0, 5.0], [0] * 6)
    assert times[6] == pytest.approx(5.1, abs=0.001)
    assert stamps[0] == 0.0


def test_the_stated_rate_is_that_of_the_video(passes: Passes, tmp_path: Path) -> None:
    """WebKit drops the pictures of a stream that states 90,000 of them a second."""
    for path in made(passes, film(tmp_path / "a.mkv", 3.0, rate=15), [0, 1]):
        with av.open(path) as container:
            assert len(list(container.decode(video=0))) == 15
            assert container.streams.video[0].codec_context.framerate == 15
