"""What the page does when the library changes under it, and with links to what is gone."""

from pathlib import Path
from typing import Any

import pytest
from serve.browsing import ask_for, give_back, until
from serve.fake import FakeLibrary

from dreamprvr.search.results import LibraryVideo
from dreamprvr.serve import app as app_module
from dreamprvr.serve.wire import video_key

pytestmark = pytest.mark.slow
VIDEO = "document.querySelector('video')"
READ = "document.querySelector('.hit.on').getBoundingClientRect().top"
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
    first.locator("summary").press("Enter")
    if height == 500:
        page.mouse.move(300, 300)
        page.mouse.wheel(0, 120)
        page.wait_for_timeout(200)
    before = page.evaluate(READ)
    url = page.url
    ask_for(library, tmp_path / "library")
    page.wait_for_selector("#writing:not([hidden])")
    library.held.insert(0, LibraryVideo("new", library.held[0].path, 12.0, {}))
    give_back(library, tmp_path / "library")
    page.wait_for_selector(f"#remark >> text={CHANGED}")
    assert page.locator(".hit h2").all_inner_texts()[:2] == ["new", "Red pan"]
    assert page.locator("#summary-text").inner_text().startswith("5 videos of 5")
    assert page.locator("#live").inner_text() == f"{CHANGED} 5 videos found"
    assert page.evaluate(f"{VIDEO}.id") == "same"
    assert page.evaluate(f"{VIDEO}.currentTime") > 6.5
    assert page.locator(".hit.on h2").inner_text() == "Red pan"
    assert page.locator("[aria-current]").count() == 1
    focused = "document.activeElement.closest('.hit.on') && document.activeElement.localName"
    assert page.evaluate(focused) == "summary"
    assert page.locator(".hit.on details").get_attribute("open") is not None
    page.wait_for_timeout(300)
    assert abs(page.evaluate(READ) - before) < 2
    assert page.url == url
    page.keyboard.press("r")
    until(page, f"!{VIDEO}.paused")
    page.fill("#query", "blue")
    page.press("#query", "Enter")
    page.wait_for_selector("#remark", state="hidden")


def test_a_change_between_two_looks_is_noticed_as_well(
    page: Any, library: FakeLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "_RETRY", 0.02)
    with page.expect_request("**/api/library"), page.expect_response("**/api/library"):
        pass  # the page has looked, and looks again in three seconds
    page.wait_for_timeout(1200)  # the server looks as often from now on
    del library.held[1:]
    ask_for(library, tmp_path / "library")
    page.wait_for_timeout(300)
    give_back(library, tmp_path / "library")
    until(page, "document.querySelectorAll('.hit').length === 1")


@pytest.mark.parametrize(
    ("video_id", "line"),
    [
        ("nobody", "the library has no such video"),
        ("gone", "the video file gone.mp4 is not where it was when it was extracted"),
    ],
)
def test_a_link_to_what_is_gone(page: Any, video_id: str, line: str) -> None:
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
    assert page.locator("#player a").all_inner_texts() == ["WebVTT"]  # there is no moment to save
    assert page.url.endswith("&s=5.00")
    page.get_by_role("button", name="Replay").click()
    until(page, f"{VIDEO}.currentTime > 5.3 && !{VIDEO}.paused")


@pytest.mark.parametrize(
    "words", ["k=zz", "k=0", "k=1000", "threshold=high", "threshold=nan", "where=tag", "v=x&s=b&e="]
)
def test_a_broken_address_is_read_as_far_as_it_goes(page: Any, words: str) -> None:
    page.goto(f"{page.url}&{words}")
    page.wait_for_selector(".hit")
    assert page.locator(".hit").count() == 4
    assert page.input_value("#k") == "10"
    assert page.input_value("#threshold") == ""
