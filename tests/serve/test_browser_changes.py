"""The page when the library changes, the server ends, or a clip cannot be saved."""

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serve.browsing import VIDEO, Server, until
from serve.fake import FakeLibrary, keeper_of
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse
from starlette.routing import Route

from dreamprvr.core.errors import UserError
from dreamprvr.search.results import LibraryVideo
from dreamprvr.serve import app as app_module
from dreamprvr.serve.app import create_app
from dreamprvr.serve.keeper import Keeper
from dreamprvr.serve.media import Media
from dreamprvr.serve.schema import video_key

pytestmark = pytest.mark.slow
READ = "document.querySelector('.hit.on').getBoundingClientRect().top"
MISSING = (
    "is not where it was when it was extracted: put it back, or extract and index its new folder, "
    "which describes it anew"
)
CHANGED = "The library has changed: these are its results now."


@pytest.mark.parametrize("height", [500, 900], ids=["scrolled", "at the top"])
def test_results_are_renewed_under_the_readers_eyes(
    page: Any, library: FakeLibrary, tmp_path: Path, height: int
) -> None:
    page.set_viewport_size({"width": 1280, "height": height})
    first = page.locator(".hit").first
    first.locator(".moment").first.click()
    until(page, f"{VIDEO}?.currentTime > 6.5")
    page.evaluate(f"{VIDEO}.pause()")
    page.evaluate(f"{VIDEO}.id = 'same'")
    first.locator(".moment").nth(1).focus()
    if height == 500:
        page.mouse.move(300, 300)
        page.mouse.wheel(0, 120)
        page.wait_for_timeout(200)
    before = page.evaluate(READ)
    url = page.url
    library.held.insert(0, LibraryVideo("new", library.held[0].path, 12.0, {}))
    library.newer = library  # another process has written it
    page.wait_for_selector(f"#remark >> text={CHANGED}")
    assert page.locator(".hit h2").all_inner_texts()[:2] == ["new", "Red pan"]
    assert page.locator("#summary-text").inner_text().startswith("5 videos of 5")
    assert page.locator("#live").inner_text() == f"{CHANGED} 5 videos found"
    assert page.evaluate(f"{VIDEO}.id") == "same"
    assert page.evaluate(f"{VIDEO}.currentTime") > 6.5
    assert page.locator(".hit.on h2").inner_text() == "Red pan"
    assert page.locator("[aria-current]").count() == 1
    focused = "document.activeElement.closest('.hit.on') && document.activeElement.textContent"
    assert page.evaluate(focused).startswith("00:01–00:03")
    page.wait_for_timeout(300)
    assert abs(page.evaluate(READ) - before) < 2
    assert page.url == url
    page.keyboard.press("r")
    until(page, f"!{VIDEO}.paused")
    page.fill("#query", "blue")
    page.press("#query", "Enter")
    page.wait_for_selector("#remark", state="hidden")


def test_a_change_between_two_requests_is_noticed(
    page: Any, library: FakeLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "_RETRY", 0.02)
    with page.expect_request("**/api/library"), page.expect_response("**/api/library"):
        pass  # the page has looked, and looks again in three seconds
    page.wait_for_timeout(1200)  # the server looks as often from now on
    del library.held[1:]
    library.newer = library
    until(page, "document.querySelectorAll('.hit').length === 1")


@pytest.mark.parametrize(
    ("video_id", "line"),
    [
        ("nobody", "the library has no such video"),
        ("gone", f"the video file gone.mp4 {MISSING}"),
    ],
)
def test_a_link_to_a_missing_video_is_reported(page: Any, video_id: str, line: str) -> None:
    page.goto(f"{page.url}&v={video_key(video_id)}&s=1.00&e=2.00")
    page.wait_for_selector("#remark:not([hidden])")
    wanted = f"The moment of this link cannot be shown: {line}."
    assert page.locator("#remark").inner_text() == wanted
    assert page.locator("#live").inner_text() == wanted
    assert page.locator(".hit").count() == 4
    assert page.locator("#player").is_hidden()


def test_a_link_to_a_second_reopens_as_one(page: Any) -> None:
    curve = page.locator(".hit").first.locator("[role=slider]")
    curve.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    until(page, f"{VIDEO}?.readyState > 1")
    assert "s=" in page.url
    assert "e=" not in page.url
    page.goto(f"{page.url.partition('&s=')[0]}&s=5.00")
    until(page, f"{VIDEO}?.currentTime === 5")
    assert page.evaluate(f"{VIDEO}.paused")
    assert page.locator(".span").inner_text() == "From 00:05"
    assert page.locator("#player a").all_text_contents() == ["WebVTT"]  # there is no moment to save
    assert page.url.endswith("&s=5.00")
    page.get_by_role("button", name="Replay").click()
    until(page, f"{VIDEO}.currentTime > 5.3 && !{VIDEO}.paused")


@pytest.mark.parametrize(
    "words", ["k=zz", "k=0", "k=1000", "threshold=high", "threshold=nan", "where=tag", "v=x&s=b&e="]
)
def test_invalid_parts_of_an_address_are_ignored(page: Any, words: str) -> None:
    page.goto(f"{page.url}&{words}")
    page.wait_for_selector(".hit")
    assert page.locator(".hit").count() == 4
    assert page.input_value("#k") == "10"
    assert page.input_value("#threshold") == ""


LIVE = "document.querySelector('#live').textContent"


def open_player(page: Any) -> Any:
    """Play the first moment; the link that saves it."""
    page.locator(".moment").first.click()
    until(page, "document.querySelector('video')?.readyState > 1")
    return page.locator("#player a").first


def test_a_clip_that_takes_long(page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made, real, calls = threading.Event(), Media.clip, []

    def slow(*arguments: Any) -> Path:
        calls.append(arguments)
        assert made.wait(20)
        return real(*arguments)

    monkeypatch.setattr(Media, "clip", slow)
    link = open_player(page)
    link.focus()
    with page.expect_download() as download:
        page.keyboard.press("Enter")
        until(page, f"{LIVE} === 'Preparing the file'")
        assert link.inner_text() == "Preparing…"
        assert link.get_attribute("aria-disabled") == "true"
        page.keyboard.press("Enter")  # once is enough
        made.set()
    assert download.value.suggested_filename == "Red pan 00.06-00.08.mp4"
    until(page, f"{LIVE} === 'Saved Red pan 00.06-00.08.mp4'")
    assert link.inner_text() == "Save as mp4"
    assert link.get_attribute("aria-disabled") is None
    assert page.evaluate("document.activeElement.textContent") == "Save as mp4"
    assert len(calls) == 1


def test_a_name_in_another_script(page: Any, library: FakeLibrary) -> None:
    first = library.held[0]
    library.held[0] = LibraryVideo(first.video_id, first.path, 12.0, {"title": "日本 動画"})
    page.fill("#query", "blue")
    page.press("#query", "Enter")
    page.wait_for_selector("text=日本 動画")
    link = open_player(page)
    with page.expect_download() as download:
        link.click()
    assert download.value.suggested_filename == "日本 動画 00.06-00.08.mp4"


def test_a_clip_that_fails(page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> Path:
        raise HTTPException(404, "the video file red.mp4 is not where it was")

    monkeypatch.setattr(Media, "clip", fail)
    link = open_player(page)
    link.click()
    line = page.get_by_role("alert").filter(has_text="Not saved")
    line.wait_for()
    assert line.inner_text() == "Not saved: the video file red.mp4 is not where it was"
    assert link.inner_text() == "Save as mp4"
    page.locator(".moment").nth(1).click()  # another moment, another file
    until(page, "document.querySelector('#player .failed').textContent === ''")


def test_a_click_for_another_tab_is_left_to_the_browser(page: Any) -> None:
    with page.expect_download() as download:
        page.locator("#save-csv").click(modifiers=["Control"])
    assert download.value.suggested_filename == "moments.csv"
    assert page.evaluate(LIVE) == "4 videos found"  # the page has not stepped in


# what Chromium says half a minute after a server has died
@pytest.fixture
def blank_page(browser: Any) -> Iterator[Any]:
    page = browser.new_page()
    yield page
    page.close()


def test_an_empty_library(blank_page: Any, tmp_path: Path) -> None:
    with Server(
        create_app(keeper_of(FakeLibrary([]), tmp_path / "films"), tmp_path / "cache")
    ) as server:
        blank_page.goto(server.address)
        blank_page.wait_for_selector(".empty")
        assert (
            "lightning index features.hdf5 -o films" in blank_page.locator(".notice").inner_text()
        )
        blank_page.fill("#query", "red")
        blank_page.press("#query", "Enter")
        until(
            blank_page,
            "document.title.startsWith('red') && document.querySelector('.empty') !== null",
        )


def test_while_it_is_indexed(
    blank_page: Any, library: FakeLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "_RETRY", 0.05)
    free = threading.Event()

    def opener(path: Path) -> FakeLibrary:
        if not free.is_set():
            raise UserError("another process writes this library")
        return library

    def write(done: int) -> None:
        progress = {"done": done, "total": 40, "video": "a__b", "pid": os.getpid()}
        (tmp_path / "progress.json").write_text(json.dumps(progress))

    write(12)
    with Server(create_app(Keeper(tmp_path, opener), tmp_path / "cache")) as server:
        blank_page.goto(f"{server.address}/?q=red")  # a link is followed once the library is free
        blank_page.wait_for_selector("text=Indexing 12 of 40")
        assert blank_page.locator("progress").evaluate("bar => bar.position") == pytest.approx(0.3)
        write(39)
        blank_page.wait_for_selector("text=Indexing 39 of 40")
        (tmp_path / "progress.json").unlink()
        blank_page.wait_for_selector("text=another process writes this library")
        free.set()
        blank_page.wait_for_selector(".hit")


def test_the_page_recovers_when_the_server_restarts(
    blank_page: Any, library: FakeLibrary, tmp_path: Path
) -> None:
    app = create_app(keeper_of(library, tmp_path / "library"), tmp_path / "cache")
    with Server(app) as server:
        blank_page.goto(server.address)
        blank_page.wait_for_selector(".welcome")
    blank_page.fill("#query", "red")
    blank_page.press("#query", "Enter")
    blank_page.wait_for_selector("#offline:not([hidden])")
    assert "lightning serve" in blank_page.locator("#offline").inner_text()
    app = create_app(keeper_of(library, tmp_path / "library"), tmp_path / "cache")
    with Server(app, server.port):
        blank_page.wait_for_selector(".hit")
        assert blank_page.locator("#offline").is_hidden()


def test_a_search_that_fails(
    blank_page: Any, library: FakeLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = library.search

    def fail(*arguments: Any, **named: Any) -> None:
        raise UserError("the encoder reads no text")

    monkeypatch.setattr(library, "search", fail)
    with Server(create_app(keeper_of(library, tmp_path / "library"), tmp_path / "cache")) as server:
        blank_page.goto(f"{server.address}/?q=red")
        blank_page.wait_for_selector(".wrong")
        assert "The encoder reads no text" in blank_page.locator(".notice").inner_text()
        monkeypatch.setattr(library, "search", real)
        blank_page.get_by_role("button", name="Try again").click()
        blank_page.wait_for_selector(".hit")


def test_a_search_that_takes_long(blank_page: Any, library: FakeLibrary, tmp_path: Path) -> None:
    library.delay = 1.0
    with Server(create_app(keeper_of(library, tmp_path / "library"), tmp_path / "cache")) as server:
        blank_page.goto(f"{server.address}/?q=red")
        blank_page.wait_for_selector(".bones")
        assert blank_page.locator("#results").get_attribute("aria-busy") == "true"
        blank_page.fill("#query", "blue")  # a second question overtakes the first
        blank_page.press("#query", "Enter")
        blank_page.wait_for_selector(".hit")
        assert blank_page.title() == "blue · DreamPRVR"
        assert blank_page.locator("#results").get_attribute("aria-busy") is None


def test_a_page_with_a_token(browser: Any, library: FakeLibrary, tmp_path: Path) -> None:
    app = create_app(keeper_of(library, tmp_path / "library"), tmp_path / "cache", (), "12345678")
    with Server(app) as server:
        page = browser.new_page()
        page.goto(server.address)
        page.wait_for_selector(".wrong")
        assert (
            "This server asks for a token: open the address" in page.locator(".wrong").inner_text()
        )
        page.goto(f"{server.address}/?q=red&view=videos&token=12345678")
        page.wait_for_selector(".hit")
        assert page.url == f"{server.address}/?q=red&view=videos"
        page.locator(".moment").first.click()
        until(page, f"{VIDEO}?.currentTime > 6.4")
        assert "dreamprvr" not in page.evaluate("document.cookie")
        page.close()
        other = browser.new_page()  # a link from elsewhere, with which the cookie is not sent
        link = f'<a href="{server.address}/?q=red&view=videos">link</a>'
        linking = Starlette(routes=[Route("/", lambda request: HTMLResponse(link))])
        with Server(linking) as elsewhere:
            other.goto(elsewhere.address.replace("127.0.0.1", "localhost"))
            other.click("a")
            other.wait_for_selector(".hit")
        other.close()
