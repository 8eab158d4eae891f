"""Files that the page saves: what it says while they are made, and when they cannot be."""

import threading
from pathlib import Path
from typing import Any

import pytest
from serve.browsing import ask_for, until
from serve.fake import FakeLibrary

from dreamprvr.search.results import LibraryVideo
from dreamprvr.serve import video_routes
from dreamprvr.serve.replies import Refusal

pytestmark = pytest.mark.slow
LIVE = "document.querySelector('#live').textContent"


def open_player(page: Any) -> Any:
    """Play the first moment; the link that saves it."""
    page.locator(".moment").first.click()
    until(page, "document.querySelector('video')?.readyState > 1")
    return page.locator("#player a").first


def test_a_clip_that_takes_long(page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made, real, calls = threading.Event(), video_routes.moment_clip, []

    def slow(*arguments: Any) -> Path:
        calls.append(arguments)
        assert made.wait(20)
        return real(*arguments)

    monkeypatch.setattr(video_routes, "moment_clip", slow)
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
        raise Refusal(404, "the video file red.mp4 is not where it was")

    monkeypatch.setattr(video_routes, "moment_clip", fail)
    link = open_player(page)
    link.click()
    line = page.get_by_role("alert").filter(has_text="Not saved")
    line.wait_for()
    assert line.inner_text() == "Not saved: the video file red.mp4 is not where it was"
    assert link.inner_text() == "Save as mp4"
    page.locator(".moment").nth(1).click()  # another moment, another file
    until(page, "document.querySelector('#player .failed').textContent === ''")


def test_a_table_while_the_library_is_written(
    page: Any, library: FakeLibrary, tmp_path: Path
) -> None:
    ask_for(library, tmp_path / "library")
    page.wait_for_selector("#writing:not([hidden])")
    page.locator("#save-csv").click()
    page.locator("#save-failed:not(:empty)").wait_for()
    line = page.locator("#save-failed").inner_text()
    assert line == "Not saved: the library is not open now; try again in a moment"


def test_another_tab_is_the_browsers_business(page: Any) -> None:
    with page.expect_download() as download:
        page.locator("#save-csv").click(modifiers=["Control"])
    assert download.value.suggested_filename == "moments.csv"
    assert page.evaluate(LIVE) == "4 videos found"  # the page has not stepped in
