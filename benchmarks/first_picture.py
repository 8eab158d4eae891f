"""Measure how soon the page shows a moment of a video that the browser cannot play.

    python -m benchmarks.first_picture [--codecs libx265 mpeg2video ...] [--minutes 10]

A made-up film of 1080p, 25 pictures a second and a keyframe every 10 seconds is encoded, and served
with an empty cache. Chromium opens links to moments of it, which lie up to 9 seconds after a
keyframe. "First picture" is the time from the click to the first picture, page and all; "seek" is
that of a jump within the player to a part that was not loaded; "speed" says how many times as fast
as they are played the following pieces are made. Needs Chromium and the package playwright.
"""

import contextlib
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import uvicorn
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame
from playwright.sync_api import sync_playwright

from benchmarks.measuring import begin, parser, publish
from dreamprvr.search.results import LibraryVideo, SearchResult
from dreamprvr.serve.app import create_app
from dreamprvr.serve.cache import CacheFolder
from dreamprvr.serve.containers import source_file
from dreamprvr.serve.keeper import Keeper
from dreamprvr.serve.media import Media
from dreamprvr.serve.pieces import SECONDS
from dreamprvr.serve.schema import video_key

WIDTH, HEIGHT, RATE, SAMPLES = 1920, 1080, 25, 48_000
PART = 10  # seconds between keyframes, and of the part that is encoded; the film repeats it
OPTIONS = {"libx265": {"preset": "superfast", "x265-params": "open-gop=0:log-level=none"}}
SHOWN = """() => {
  const video = document.querySelector("video");
  return Boolean(video && video.readyState > 1 && !video.seeking && video.videoWidth);
}"""


def write_part(path: Path, codec: str, smaller: int = 1) -> None:
    """Encode a part of the film: a landscape of blocks that moves, with noise, and a tone.

    Args:
        path: path of the file, an mp4.
        codec: name of the encoder.
        smaller: number by which width and height are divided.
    """
    width, height = WIDTH // smaller, HEIGHT // smaller
    noise = np.random.default_rng(0)
    blocks = noise.integers(0, 256, (70, 130, 3), np.uint8).repeat(20, axis=0).repeat(20, axis=1)
    with av.open(path, "w") as writer:
        video: Any = writer.add_stream(codec, rate=RATE)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.codec_context.gop_size = PART * RATE
        video.options = OPTIONS.get(codec, {})
        audio: Any = writer.add_stream("aac", rate=SAMPLES, layout="stereo")
        grain = noise.integers(0, 12, (height, width, 1), np.uint8)
        for number in range(PART * RATE):
            y, x = number, 2 * number
            seen = blocks[y : y + height, x : x + width] // 2 + np.roll(grain, number * 7)
            frame = VideoFrame.from_ndarray(np.ascontiguousarray(seen), "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            writer.mux(video.encode(frame))
        writer.mux(video.encode(None))
        tone = np.sin(np.arange(PART * SAMPLES) / 20).astype(np.float32) / 4
        for at in range(0, len(tone), SAMPLES):
            sound = AudioFrame.from_ndarray(np.stack([tone[at : at + SAMPLES]] * 2), "fltp")
            sound.sample_rate, sound.pts, sound.time_base = SAMPLES, at, Fraction(1, SAMPLES)
            writer.mux(audio.encode(sound))
        writer.mux(audio.encode(None))


def repeat(part: Path, film: Path, times: int) -> None:
    """Write a film that shows a part several times."""
    with av.open(film, "w", container_options={"movflags": "faststart"}) as writer:
        copies: dict[int, Any] = {}
        for number in range(times):
            with av.open(part) as reader:
                for stream in reader.streams if not copies else ():
                    copies[stream.index] = writer.add_stream_from_template(stream)
                for packet in reader.demux():
                    unit, pts, dts = packet.time_base, packet.pts, packet.dts
                    if pts is None or dts is None:
                        continue
                    # packets before and after the part are silence that fills a block
                    if packet.stream.type == "audio" and not 0 <= pts * unit < PART - 0.03:
                        continue
                    late = round(PART * number / unit)
                    packet.pts, packet.dts = pts + late, dts + late
                    packet.stream = copies[packet.stream.index]
                    writer.mux(packet)


class OneVideo:
    """A library of one video, as far as playing needs a library."""

    version = 0

    def __init__(self, video: LibraryVideo) -> None:
        self._video = video

    def videos(self) -> list[LibraryVideo]:
        """Return the video."""
        return [self._video]

    def columns(self) -> dict[str, list[str]]:
        """Return no columns."""
        return {}

    def video(self, video_id: str) -> LibraryVideo:
        """Return the video."""
        return self._video

    def search(self, text: str, **options: Any) -> SearchResult:
        """Return no result; the link names the moment."""
        return SearchResult(text, (), 0.0, 1, 1)

    def prepare(self) -> None:
        """Do nothing."""

    def renewed(self) -> None:
        """Return None, as no process writes it."""

    def close(self) -> None:
        """Do nothing."""


@contextlib.contextmanager
def served(library: Any, folder: Path) -> Iterator[str]:
    """Serve a library, or what answers like one, on a free port.

    Yields:
        The address of the page.
    """
    keeper = Keeper(folder, lambda path: library)
    app = create_app(keeper, folder / "cache")
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def waits(browser: Any, address: str, video: LibraryVideo, rounds: int) -> tuple[list[float], ...]:
    """Measure the seconds to the first picture of a link, and of a jump after it."""
    firsts, seeks = [], []
    for number in range(rounds):
        page = browser.new_page()
        second = (number + 0.5) * video.duration / (rounds + 1) // PART * PART + 1 + number * 3 % 9
        key = video_key(video.video_id)
        began = time.perf_counter()
        page.goto(f"{address}/?q=x&v={key}&s={second:.2f}&e={second + 5:.2f}")
        firsts.append(_shown(page, began))
        elsewhere = (second + video.duration / 2) % video.duration
        began = time.perf_counter()
        page.evaluate(f"document.querySelector('video').currentTime = {elsewhere}")
        seeks.append(_shown(page, began))
        page.close()
    return firsts, seeks


def _shown(page: Any, began: float) -> float:
    while not page.evaluate(SHOWN):
        if time.perf_counter() - began > 120:
            raise TimeoutError("no picture within two minutes")
        page.wait_for_timeout(10)
    return time.perf_counter() - began


def speed(video: LibraryVideo, folder: Path, pieces: int = 20) -> float:
    """Return how many times as fast as they are played pieces are made one after the other."""
    media, source = Media(CacheFolder(folder, 10**9)), source_file(video)
    media.piece(source, 0, lambda: None)
    began = time.perf_counter()
    for number in range(1, pieces + 1):
        media.piece(source, number, lambda: None)
    took = time.perf_counter() - began
    media.passes.close_idle(0.0)
    return pieces * SECONDS / took


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row for each codec, and write all numbers as JSON."""
    options = parser(__doc__, "first_picture", rounds=5, minutes=10)
    options.add_argument("--codecs", nargs="+", default=["libx265", "mpeg2video", "mpeg4"])
    options.add_argument("--browser", default="/usr/bin/chromium", help="path of Chromium")
    args = begin(options, arguments)
    rows = []
    with tempfile.TemporaryDirectory() as name, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=args.browser, args=["--no-sandbox"])
        for codec in args.codecs:
            folder = Path(name) / codec
            folder.mkdir()
            write_part(folder / "part.mp4", codec)
            repeat(folder / "part.mp4", folder / "film.mp4", max(args.minutes * 60 // PART, 1))
            video = LibraryVideo("film", folder / "film.mp4", args.minutes * 60.0, {})
            with served(OneVideo(video), folder) as address:
                firsts, seeks = waits(browser, address, video, args.rounds)
            rows.append({
                "codec": codec, "first picture s": statistics.median(firsts),
                "slowest s": max(firsts), "seek s": statistics.median(seeks),
                "speed": speed(video, folder / "speed"),
            })  # fmt: skip
        browser.close()
    publish(args, rows)


if __name__ == "__main__":
    main()
