"""Measure how soon the page is drawn, and whether its memory stays flat over many searches.

    python -m benchmarks.page_memory [--searches 300] [--videos 10]

Chromium opens the page seven times with an empty cache. The first paint is that of the first text
or picture. Then one tab asks 300 different sentences, one after the other. The answers have 10
videos with three moments and a curve of 360 pieces each, in turn as moments and by video. Every
tenth time a moment is played and the player is closed again. After each 50 searches, garbage is
collected by force, and the heap of JavaScript, the nodes and the listeners of the document are
counted through the DevTools protocol. Needs Chromium and the package playwright.
"""

import math
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from benchmarks.films import write_film
from benchmarks.first_picture import SHOWN, OneVideo
from benchmarks.measuring import begin, parser, publish
from benchmarks.page_searches import served
from dreamprvr.search.results import Curve, Hit, LibraryVideo, Moment, SearchResult

EVERY = 50  # searches between two counts
LOADS = 7  # times that the page is opened
PAINTED = """() => {
  const [paint] = performance.getEntriesByName("first-contentful-paint");
  return paint && paint.startTime / 1000;
}"""
PLAYED = 10  # searches from one that is played to the next
PIECES, SECONDS = 360, 10.0  # pieces of a curve, seconds of a video
# not typed, as Chromium keeps what was typed into a field so that it can be undone
ASKED = """(text) => {
  const query = document.querySelector("#query");
  query.value = text;
  query.form.requestSubmit();
}"""
DONE = """(text) =>
  document.title === `${text} · DreamPRVR` && document.querySelector(".hit") !== null"""


class Films(OneVideo):
    """A library that answers every sentence with all of its videos.

    Args:
        videos: the videos.
    """

    def __init__(self, videos: Sequence[LibraryVideo]) -> None:
        self._all = {video.video_id: video for video in videos}

    def videos(self) -> list[LibraryVideo]:
        """Return the videos."""
        return list(self._all.values())

    def video(self, video_id: str) -> LibraryVideo:
        """Return a video."""
        return self._all[video_id]

    def search(self, text: str, **options: Any) -> SearchResult:
        """Return all videos, with a curve that no other sentence has."""
        number = sum(map(ord, text))
        hits = [_hit(rank, video, number) for rank, video in enumerate(self.videos(), 1)]
        return SearchResult(text, tuple(hits), 0.0, len(hits), len(hits), "strong")


def _hit(rank: int, video: LibraryVideo, number: int) -> Hit:
    starts = tuple(piece * SECONDS / PIECES for piece in range(PIECES))
    ends = (*starts[1:], SECONDS)
    scores = tuple(0.5 + math.sin(start * rank + number) / 3 for start in starts)
    moments = tuple(Moment(at, at + 2.0, at + 1.0, 0.9 - at / 20) for at in (1.0, 4.0, 7.0))
    return Hit(rank, video, 1 - rank / 100, moments, Curve(starts, ends, scores), (), 90 - rank)


def count(session: Any) -> dict[str, int]:
    """Collect garbage and count what is held.

    Args:
        session: session of the DevTools protocol of a page.
    """
    for _ in range(5):  # what a collection frees may hold what the next one frees
        session.send("HeapProfiler.collectGarbage")
    counters = session.send("Memory.getDOMCounters")
    used = session.send("Runtime.getHeapUsage")["usedSize"]
    return {
        "heap kB": round(used / 1000), "nodes": int(counters["nodes"]),
        "listeners": int(counters["jsEventListeners"]),
    }  # fmt: skip


def until(page: Any, condition: str, text: str = "") -> None:
    """Wait for a condition in JavaScript, without holding an element of the page.

    Args:
        page: the page.
        condition: a function; always the same text, as the browser keeps each text that it runs.
        text: what the function is called with.
    """
    began = time.monotonic()
    while not page.evaluate(condition, text):
        if time.monotonic() - began > 60:
            raise TimeoutError(f"not within a minute: {condition}")
        page.wait_for_timeout(10)


def searches(page: Any, first: int, last: int) -> None:
    """Ask sentences, in turn as moments and by video, and play some of the moments."""
    for number in range(first, last):
        text = f"sentence {number}"
        page.evaluate(ASKED, text)
        until(page, DONE, text)
        page.locator("#view-videos" if number % 2 else "#view-moments").click()
        if number % PLAYED == 0:
            page.locator(".hit .still").first.click()
            until(page, SHOWN)
            page.get_by_role("button", name="Close the player").click()


def first_paint(browser: Any, address: str) -> float:
    """Return the median seconds from opening the page to its first text or picture."""
    seconds = []
    for _ in range(LOADS):
        with browser.new_context() as context:
            page = context.new_page()
            page.goto(address)
            seconds.append(float(page.wait_for_function(PAINTED).json_value()))
    return statistics.median(seconds)


def measured(page: Any, total: int) -> list[dict[str, Any]]:
    """Return what is held after each `EVERY` searches."""
    session = page.context.new_cdp_session(page)
    rows: list[dict[str, Any]] = []
    for first in range(0, total, EVERY):
        last = min(first + EVERY, total)
        searches(page, first, last)
        rows.append({"searches": last, **count(session)})
        print(rows[-1], flush=True)
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row for each 50 searches, and write all numbers as JSON."""
    options = parser(__doc__, "page_memory", rounds=1, searches=300, videos=10)
    options.add_argument("--browser", default="/usr/bin/chromium", help="path of Chromium")
    args = begin(options, arguments)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as driver:
        folder = Path(name)
        write_film(folder / "film.mp4", "libx264", (192, 108), 25, parts=1)
        videos = [
            LibraryVideo(f"film{number}", folder / "film.mp4", SECONDS, {"title": f"Film {number}"})
            for number in range(args.videos)
        ]
        browser = driver.chromium.launch(executable_path=args.browser, args=["--no-sandbox"])
        with served(lambda: Films(videos), folder, folder / "cache") as address:
            painted = first_paint(browser, f"http://{address}")
            print(f"first paint after {painted:.2f} s, median of {LOADS} loads", flush=True)
            page = browser.new_page()
            page.goto(f"http://{address}")
            page.wait_for_selector(".film")
            rows = measured(page, args.searches)
        browser.close()
    publish(args, [{**row, "first paint s": painted} for row in rows])


if __name__ == "__main__":
    main()
