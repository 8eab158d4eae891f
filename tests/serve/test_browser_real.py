"""Six real videos from their files to the browser: extract, index, serve, search, play."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli.running import run
from extraction.tiny_models import save_clip
from serve.browsing import chromium, until
from shared import DATA, needs_data

pytestmark = [pytest.mark.slow, needs_data]
VIDEO = "document.querySelector('video')"
FAST = 4  # times the speed of life, as moments may be half a minute long


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library of the six videos; its encoder is a CLIP of random weights."""
    pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("real")
    encoder = save_clip(folder / "clip")
    words = ("--encoder", f"transformers:{encoder}", "--device", "cpu")
    made = run("extract", DATA / "videos", "-o", folder / "features.hdf5", *words)
    assert "\n6 videos extracted" in f"\n{made.out}", made
    done = run("index", folder / "features.hdf5", "-o", folder / "library", "--device", "cpu")
    assert done.code == 0, done
    return folder / "library"


@pytest.fixture(scope="module")
def address(library: Path) -> Iterator[str]:
    """The address of `lightning serve`, a process of its own."""
    script = Path(sys.executable).with_name("lightning")
    cache = library.parent / "cache"
    words = ["serve", library, "--port", "0", "--device", "cpu", "--cache", cache]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [script, *map(str, words)], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("the page is at http"), line
            yield line.split()[4]
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def page(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("browser")) as browser:
        page = browser.new_page()
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda line: line.type == "error" and problems.append(line.text))
        # the address has a token where others have an account on the machine
        page.goto(f"{address}{'&' if '?' in address else '?'}view=videos")
        page.fill("#query", "a man runs")
        page.press("#query", "Enter")
        page.wait_for_selector(".hit", timeout=60_000)  # the model is loaded first
        yield page
        assert problems == []


def test_six_results_with_their_pictures(page: Any) -> None:
    items = page.locator(".hit").all()
    titles = {item.locator("h2").inner_text() for item in items}
    names = {path.stem for path in (DATA / "videos").iterdir() if path.suffix in (".mp4", ".mkv")}
    assert len(items) == 6
    assert titles == names
    assert page.locator("#summary-text").inner_text().startswith("6 videos of 6, ")
    for item in items:
        item.scroll_into_view_if_needed()
    until(
        page, "[...document.querySelectorAll('.still img')].every((one) => one.naturalWidth > 100)"
    )


@pytest.mark.parametrize("place", range(6))
def test_each_plays_its_moment(page: Any, place: int) -> None:
    item = page.locator(".hit").nth(place)
    start, end = item.evaluate("({ hit }) => [hit.moments[0].start, hit.moments[0].end]")
    item.locator(".moment").first.click()
    until(page, f"{VIDEO}?.videoWidth > 0 && !{VIDEO}.paused", 60)  # the mkv is converted before
    page.evaluate(f"{VIDEO}.playbackRate = {FAST}")
    until(page, f"{VIDEO}.paused", 60)
    assert start - 0.1 <= page.evaluate(f"{VIDEO}.played.start(0)") < end
    assert page.evaluate(f"{VIDEO}.played.length") == 1
    # a moment at the end of a film: its sound may be longer than its pictures
    late = 0.25 if page.evaluate(f"{VIDEO}.ended") else 0.05
    assert end - 0.5 < page.evaluate(f"{VIDEO}.currentTime") <= end + late
    assert "has ended" in page.locator(".state").inner_text()
    assert page.locator("#player .cannot").count() == 0
