"""The player when the server ends, or a file cannot be played."""

from pathlib import Path
from typing import Any

import pytest
from serve.browsing import VIDEO, Server, page_of, until
from serve.fake import FakeLibrary, keeper_of
from serve.films import film

from dreamprvr.search.results import LibraryVideo
from dreamprvr.serve.app import create_app
from dreamprvr.serve.media import Media
from dreamprvr.serve.workers import Stopped

pytestmark = pytest.mark.slow
MISSING = (
    "is not where it was when it was extracted: put it back, or extract and index its new folder, "
    "which describes it anew"
)


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


def test_pieces_are_played_if_the_browser_fails_to_play_the_file(
    browser: Any, library: FakeLibrary, tmp_path: Path
) -> None:
    with page_of(browser, library, tmp_path) as (page, _):
        page.route(
            "**/media", lambda route: route.fulfill(body=b"no video", content_type="video/mp4")
        )
        page.locator(".moment").first.click()
        until(page, f"{VIDEO}?.currentTime > 6.6")
        assert page.evaluate(f"{VIDEO}.currentSrc").startswith("blob:")
        until(page, f"{VIDEO}.paused")
        assert 7.8 <= page.evaluate(f"{VIDEO}.currentTime") <= 8.0


def test_pieces_are_played_if_the_browser_plays_only_the_sound(
    browser: Any, library: FakeLibrary, tmp_path: Path
) -> None:
    """Chromium does so, without an error, if it does not know the format of the pictures."""
    path = film(tmp_path / "a.mp4", 12.0, "mpeg4")
    library.held[0] = LibraryVideo("a", path, 12.0, {})
    with page_of(browser, library, tmp_path) as (page, _):
        page.evaluate("HTMLVideoElement.prototype.canPlayType = () => 'maybe'")
        page.locator(".moment").first.click()
        until(page, f"{VIDEO}?.currentTime > 6.6")
        assert page.evaluate(f"{VIDEO}.videoWidth") > 0
        assert page.evaluate(f"{VIDEO}.currentSrc").startswith("blob:")


def test_the_server_dies_while_pieces_are_played(
    browser: Any, library: FakeLibrary, tmp_path: Path
) -> None:
    path = film(tmp_path / "long.avi", 60.0, "mpeg4", container="avi", sound=False)
    library.held[0] = LibraryVideo("long", path, 60.0, {})
    with page_of(browser, library, tmp_path) as (page, server):
        page.locator(".moment").first.click()
        until(page, f"{VIDEO}?.currentTime > 32.2")
        page.evaluate(f"{VIDEO}.pause()")
        server.stop()
        page.evaluate(f"{VIDEO}.currentTime = 10")
        page.wait_for_selector(f"text={AWAY}")
        with restarted(library, tmp_path, server):
            until(page, f"{VIDEO}?.currentTime === 10 && {VIDEO}.readyState > 1")


def test_a_seek_gives_up_the_piece_that_is_made(
    browser: Any, library: FakeLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = film(tmp_path / "long.avi", 60.0, "mpeg4", container="avi", sound=False)
    library.held[0] = LibraryVideo("long", path, 60.0, {})
    real, given_up = Media.piece, []

    def slow(media: Media, source: Any, number: int, check: Any) -> Path:
        while number == 10:
            try:
                check()
            except Stopped:
                given_up.append(number)
                raise
        return real(media, source, number, check)

    monkeypatch.setattr(Media, "piece", slow)
    with page_of(browser, library, tmp_path) as (page, _):
        page.locator(".moment").first.click()
        until(page, f"{VIDEO}?.currentTime > 32.2")
        page.evaluate(f"{VIDEO}.pause()")
        page.evaluate(f"{VIDEO}.currentTime = 10")
        page.wait_for_timeout(300)
        page.evaluate(f"{VIDEO}.currentTime = 20")
        until(page, f"!{VIDEO}.seeking && {VIDEO}.readyState > 1")
        assert given_up == [10]
        page.evaluate(f"{VIDEO}.currentTime = 10")
        page.wait_for_timeout(300)
        page.get_by_role("button", name="Close the player").click()
        page.wait_for_timeout(300)
        assert given_up == [10, 10]


def test_a_file_that_cannot_be_played_in_any_way(
    browser: Any, library: FakeLibrary, tmp_path: Path
) -> None:
    with page_of(browser, library, tmp_path) as (page, _):
        for place in ("**/media", "**/pieces/*"):
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
        assert line == f"the video file red.mp4 {MISSING}"
