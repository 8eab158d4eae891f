"""Measure how soon the page shows a moment of a video that the browser cannot play.

    python -m benchmarks.first_picture [--codecs libx265 mpeg2video ...] [--minutes 10]

A made-up film of 1080p, 25 pictures a second and a keyframe every 10 seconds is encoded, and served
with an empty cache. Chromium opens links to moments of it, which lie up to 9 seconds after a
keyframe. "First picture" is the time from the click to the first picture, page and all; "seek" is
that of a jump within the player to a part that was not loaded; "speed" says how many times as fast
as they are played the following pieces are made. Needs Chromium and the package playwright.
"""

import statistics
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from benchmarks.films import PART, write_film
from benchmarks.measuring import begin, parser, publish
from benchmarks.page_searches import served
from dreamprvr.search.results import LibraryVideo, SearchResult
from dreamprvr.serve.cache import CacheFolder
from dreamprvr.serve.containers import source_file
from dreamprvr.serve.media import Media
from dreamprvr.serve.pieces import SECONDS
from dreamprvr.serve.schema import video_key

SIZE, RATE = (1920, 1080), 25
SHOWN = """() => {
  const video = document.querySelector("video");
  return Boolean(video && video.readyState > 1 && !video.seeking && video.videoWidth);
}"""


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


def waits(browser: Any, address: str, video: LibraryVideo, rounds: int) -> tuple[list[float], ...]:
    """Measure the seconds to the first picture of a link, and of a jump after it."""
    firsts, seeks = [], []
    for number in range(rounds):
        page = browser.new_page()
        second = (number + 0.5) * video.duration / (rounds + 1) // PART * PART + 1 + number * 3 % 9
        key = video_key(video.video_id)
        began = time.perf_counter()
        page.goto(f"http://{address}/?q=x&v={key}&s={second:.2f}&e={second + 5:.2f}")
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
            parts = max(args.minutes * 60 // PART, 1)
            write_film(folder / "film.mp4", codec, SIZE, RATE, parts)
            video = LibraryVideo("film", folder / "film.mp4", args.minutes * 60.0, {})
            with served(partial(OneVideo, video), folder, folder / "cache") as address:
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
