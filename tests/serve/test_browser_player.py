"""Playing moments, in Chromium."""

from typing import Any

import pytest
from serve.browsing import VIDEO, search, until

pytestmark = pytest.mark.slow
START, END = 6.4, 8.0  # of the best moment of red.mp4


@pytest.fixture
def page(watched_page: Any) -> Any:
    return watched_page


def now(page: Any) -> float:
    return float(page.evaluate(f"{VIDEO}.currentTime"))


def test_exactly_the_moment_is_played(page: Any) -> None:
    search(page)
    page.locator(".hit").first.locator(".moment").first.click()
    until(page, f"{VIDEO} && !{VIDEO}.paused && {VIDEO}.currentTime > 6.6")
    assert page.evaluate(f"{VIDEO}.videoWidth") == 160  # the browser decodes H.264
    assert page.evaluate(f"{VIDEO}.played.start(0)") >= START - 0.1
    until(page, f"{VIDEO}.paused")
    assert END - 0.12 <= now(page) <= END
    assert page.locator(".state").inner_text() == "The moment has ended."
    page.get_by_role("button", name="Replay moment").click()
    until(page, f"!{VIDEO}.paused && {VIDEO}.currentTime < 7.5")
    until(page, f"{VIDEO}.paused")
    assert END - 0.12 <= now(page) <= END


def test_on_past_the_end(page: Any) -> None:
    search(page)
    page.locator(".moment").first.click()
    until(page, f"{VIDEO} && {VIDEO}.currentTime > {START}")
    page.get_by_role("button", name="Continue").click()
    until(page, f"{VIDEO}.currentTime > {END + 0.5}")
    assert not page.evaluate(f"{VIDEO}.paused")
    assert page.locator(".state").inner_text() == "Playing beyond the moment."


def test_the_videos_own_controls_may_leave_the_moment(page: Any) -> None:
    search(page)
    page.locator(".moment").first.click()
    until(page, f"{VIDEO}?.currentTime > {START}")
    # a seek to what has not come yet takes longer than a frame
    page.evaluate(
        f"Object.defineProperty({VIDEO}, 'seeking', {{ value: true, configurable: true }})"
    )
    page.evaluate(f"{VIDEO}.currentTime = 10")
    page.wait_for_timeout(100)
    page.evaluate(f"delete {VIDEO}.seeking")
    until(page, f"{VIDEO}.currentTime > 10.2")
    assert not page.evaluate(f"{VIDEO}.paused")


def test_the_curve_seeks(page: Any) -> None:
    search(page)
    curve = page.locator(".hit").first.locator("[role=slider]")
    box = curve.bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.25, box["y"] + 10)
    until(page, f"{VIDEO} && {VIDEO}.currentTime >= 2.9")
    assert now(page) < 5
    page.evaluate(f"{VIDEO}.pause()")
    curve.focus()
    page.keyboard.press("Home")
    until(page, f"{VIDEO}.currentTime < 1")
    page.evaluate(f"{VIDEO}.pause()")
    before = now(page)
    page.keyboard.press("ArrowRight")
    until(page, f"{VIDEO}.currentTime >= {before + 4.5}")
    assert "score" in curve.get_attribute("aria-valuetext")


@pytest.mark.parametrize("place", [1, 2], ids=["encoded", "copied"])
def test_what_the_browser_cannot_play_gets_a_preview(page: Any, place: int) -> None:
    search(page)
    page.locator(".hit").nth(place).locator(".moment").first.click()
    until(page, f"{VIDEO} && {VIDEO}.videoWidth > 0 && {VIDEO}.currentTime > 3.2")
    assert page.evaluate(f"{VIDEO}.src").endswith("/preview.mp4")
    until(page, f"{VIDEO}.paused")
    assert 3.88 <= now(page) <= 4.0


def test_a_file_that_is_missing(page: Any) -> None:
    search(page)
    gone = page.locator(".hit").nth(3)
    assert "is not where it was" in gone.locator(".missing").inner_text()
    assert all(gone.locator(".moment").nth(i).is_disabled() for i in range(2))
    gone.focus()
    page.keyboard.press("Enter")
    assert page.locator("#player").is_hidden()
