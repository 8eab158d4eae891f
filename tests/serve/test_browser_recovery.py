"""The player when the server goes away, and when the browser cannot play what it was given."""

from pathlib import Path
from typing import Any

import pytest
from serve.browsing import Server, page_of, until
from serve.fake import FakeLibrary, keeper_of

from dreamprvr.search.results import LibraryVideo
from dreamprvr.serve.app import create_app

pytestmark = pytest.mark.slow
VIDEO = "document.querySelector('video')"
# what Chromium says half a minute after a server has died
BREAKS = f"""() => {{
  Object.defineProperty({VIDEO}, "error", {{ value: {{ code: MediaError.MEDIA_ERR_NETWORK }} }});
  {VIDEO}.dispatchEvent(new Event("error"));
}}"""
AWAY = "The server does not answer. The video goes on once it is back."


def restarted(library: FakeLibrary, folder: Path, server: Server) -> Server:
    app = create_app(keeper_of(library, folder / "library"), folder / "cache")
    return Server(app, server.port)


def test_the_server_dies_while_a_video_plays(
    browser: Any, library: FakeLibrary, tmp_path: Path
) -> None:
    with page_of(browser, library, tmp_path) as (page, server):
        page.locator(".moment").first.click()
        until(page, f"{VIDEO}?.currentTime > 7")
        server.stop()
        page.evaluate(BREAKS)
        page.wait_for_selector(f"text={AWAY}")
        with restarted(library, tmp_path, server):
            until(page, f"{VIDEO}?.currentTime > 7.5")
            assert page.evaluate(f"{VIDEO}.played.start(0)") >= 6.95  # on from there
            until(page, f"{VIDEO}.paused")
            assert 7.8 <= page.evaluate(f"{VIDEO}.currentTime") <= 8.0  # still that moment


def test_the_server_is_away_when_a_video_is_opened(
    browser: Any, library: FakeLibrary, tmp_path: Path
) -> None:
    with page_of(browser, library, tmp_path) as (page, server):
        server.stop()
        page.locator(".moment").first.click()
        page.wait_for_selector(f"text={AWAY}")
        with restarted(library, tmp_path, server):
            until(page, f"{VIDEO}?.currentTime > 6.5")


def test_a_video_that_breaks_off_again_and_again(
    browser: Any, library: FakeLibrary, tmp_path: Path
) -> None:
    with page_of(browser, library, tmp_path) as (page, _):
        page.locator(".moment").first.click()
        until(page, f"{VIDEO}?.currentTime > 6.5")
        page.evaluate(f"{VIDEO}.pause()")
        for _ in range(5):
            new = f"{VIDEO} && !Object.hasOwn({VIDEO}, 'error')"
            until(page, f"{new} && {VIDEO}.readyState > 1 && !{VIDEO}.seeking")
            page.evaluate(BREAKS)
        line = page.wait_for_selector("#player [role=alert].cannot")
        assert line.inner_text() == "The browser cannot play this file."


def test_a_preview_where_the_browser_does_not_play_the_file_after_all(
    browser: Any, library: FakeLibrary, tmp_path: Path
) -> None:
    with page_of(browser, library, tmp_path) as (page, _):
        page.route(
            "**/media", lambda route: route.fulfill(body=b"no video", content_type="video/mp4")
        )
        page.locator(".moment").first.click()
        until(page, f"{VIDEO}?.currentTime > 6.6")
        assert page.evaluate(f"{VIDEO}.currentSrc").endswith("/preview.mp4?force=true")
        until(page, f"{VIDEO}.paused")
        assert 7.8 <= page.evaluate(f"{VIDEO}.currentTime") <= 8.0


def test_a_file_that_cannot_be_played_in_any_way(
    browser: Any, library: FakeLibrary, tmp_path: Path
) -> None:
    with page_of(browser, library, tmp_path) as (page, _):
        for place in ("**/media", "**/preview.mp4*"):
            page.route(place, lambda route: route.fulfill(body=b"no", content_type="video/mp4"))
        page.locator(".moment").first.click()
        line = page.wait_for_selector("#player [role=alert].cannot")
        assert line.inner_text() == "The browser cannot play this file."


def test_a_file_that_is_taken_away_meanwhile(
    browser: Any, library: FakeLibrary, tmp_path: Path
) -> None:
    film = tmp_path / "red.mp4"
    film.write_bytes(library.held[0].path.read_bytes())
    library.held[0] = LibraryVideo("red", film, 12.0, {})
    with page_of(browser, library, tmp_path) as (page, _):
        film.unlink()
        page.locator(".moment").first.click()
        line = page.wait_for_selector("#player [role=alert].cannot").inner_text()
        assert line == "the video file red.mp4 is not where it was when it was extracted"
