"""The basket, the player's strip and curves in Chromium."""

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from serve.browsing import VIDEO, page_of, search, until
from serve.fake import FakeLibrary

from dreamprvr.search.results import LibraryVideo
from dreamprvr.serve.schema import video_key

pytestmark = pytest.mark.slow


@pytest.fixture
def page(home_page: Any) -> Any:
    return home_page


def kept(page: Any) -> list[str]:
    return [text.replace("\n", " ") for text in page.locator(".basket-open").all_inner_texts()]


def test_a_basket_is_handed_over(page: Any) -> None:
    search(page)
    keep = page.locator(".tile .keep")
    keep.nth(0).click()
    keep.nth(1).click()
    assert keep.nth(0).get_attribute("aria-pressed") == "true"
    page.reload()  # it is kept
    page.wait_for_selector(".tile")
    assert keep.nth(0).get_attribute("aria-pressed") == "true"
    page.locator("#basket-button").click()
    assert kept(page) == ["Red pan 00:06–00:08", "=1+1 00:03–00:04"]
    page.select_option("#basket-rate", "29.97")
    names = []
    for label in ("CSV", "EDL", "FCPXML"):
        with page.expect_download() as download:
            page.locator("#basket").get_by_role("link", name=label, exact=True).click()
        names.append(download.value.suggested_filename)
        text = Path(download.value.path()).read_text("utf-8-sig")
        if label == "CSV":
            rows = list(csv.DictReader(io.StringIO(text)))
            assert [row["start_timecode"] for row in rows] == ["00:00:06;12", "00:00:03;06"]
        else:
            assert ("DROP FRAME" if label == "EDL" else "30000s") in text
    assert names == ["moments.csv", "moments.edl", "moments.fcpxml"]
    page.locator("#basket").get_by_role("button", name="Take 00:06–00:08 of Red pan").click()
    assert kept(page) == ["=1+1 00:03–00:04"]
    assert page.evaluate("document.activeElement.id") == "basket-title"
    page.locator(".basket-open").click()
    until(page, f"{VIDEO}?.videoWidth > 0")
    assert page.locator("#player h2").inner_text() == "=1+1"
    assert page.locator("#player .keep").get_attribute("aria-pressed") == "true"
    page.locator("#basket-button").click()
    page.get_by_role("button", name="Empty the basket").click()
    assert "It is empty" in page.locator("#basket").inner_text()
    page.keyboard.press("Escape")
    assert page.locator(".keep[aria-pressed=true]").count() == 0


def test_a_basket_that_is_full(page: Any) -> None:
    many = [
        {"key": video_key("x" * 50), "title": "x", "start": i, "end": i + 1} for i in range(170)
    ]
    page.evaluate("(many) => localStorage.setItem('dreamprvr.basket', JSON.stringify(many))", many)
    page.reload()
    page.wait_for_selector(".film")
    search(page)
    page.locator(".tile .keep").first.click()
    assert "The basket is full" in page.locator("#basket [role=alert]").inner_text()
    assert page.locator(".basket-open").count() == 170


def test_what_others_wrote_into_the_store_is_no_basket(page: Any) -> None:
    for text in ("{", "[1, null]", '[{"key": "x"}]', '{"key": 1}', '"text"'):
        page.evaluate("(text) => localStorage.setItem('dreamprvr.basket', text)", text)
        page.evaluate("(text) => localStorage.setItem('dreamprvr.recent', text)", text)
        page.reload()
        page.wait_for_selector(".film")
        assert page.locator("#basket-count").inner_text() == "0"


def test_start_and_end_are_adjusted(page: Any) -> None:
    search(page)
    page.locator(".still").first.click()
    until(page, f"{VIDEO}?.readyState > 1")
    start = page.get_by_role("slider", name="Start of the moment")
    start.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("PageDown")
    assert start.get_attribute("aria-valuetext") == "00:00:05.200"
    assert page.locator(".span strong").inner_text() == "00:05.2–00:08.0"
    assert "s=5.20&e=8.00" in page.url
    until(page, f"{VIDEO}.paused && Math.abs({VIDEO}.currentTime - 5.2) < 0.05")
    assert page.evaluate("document.activeElement.matches('.strip-handle.start')")
    assert page.locator(".tile.on").count() == 1
    end = page.get_by_role("slider", name="End of the moment")
    box = end.bounding_box()
    strip = page.locator(".strip").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(strip["x"] + strip["width"] * 10 / 12, box["y"] + 20, steps=4)
    page.mouse.up()
    assert float(end.get_attribute("aria-valuenow")) == pytest.approx(10, abs=0.2)
    page.keyboard.press("End")
    page.keyboard.press("Home")  # not before the start
    assert end.get_attribute("aria-valuetext") == "00:00:05.700"
    with page.expect_download() as download:
        page.get_by_role("link", name="Save as mp4").click()
    assert download.value.suggested_filename == "Red pan 00.05-00.05.mp4"
    page.get_by_role("button", name="Replay moment").click()
    until(page, f"{VIDEO}.paused && {VIDEO}.currentTime > 5.5")
    assert page.evaluate(f"{VIDEO}.currentTime") <= 5.7
    page.reload()
    until(page, f"{VIDEO}?.readyState > 1")
    assert page.locator(".strip-handle.end").get_attribute("aria-valuetext") == "00:00:05.700"


def test_a_wide_player(page: Any) -> None:
    search(page)
    page.locator(".still").first.click()
    until(page, f"{VIDEO}?.readyState > 1")
    narrow = page.locator("#player").bounding_box()["width"]
    page.keyboard.press("t")
    assert page.locator("#player").bounding_box()["width"] > 1.8 * narrow
    assert page.locator(".widen").get_attribute("aria-pressed") == "true"
    page.get_by_role("button", name="Wide").click()
    assert page.locator("#player").bounding_box()["width"] == narrow


def test_a_picture_under_the_pointer_on_the_curve(page: Any) -> None:
    page.goto(f"{page.url}?q=red&view=videos")
    curve = page.locator(".curve").first
    curve.hover(position={"x": 200, "y": 20})
    page.wait_for_selector(".curve-tip img:not([hidden])")
    assert page.evaluate("document.querySelector('.curve-tip img').naturalWidth") > 0
    page.mouse.move(5, 5)
    assert page.locator(".curve-tip:visible").count() == 0


def test_curves_share_a_scale_and_long_ones_are_enlarged(
    browser: Any, library: FakeLibrary, tmp_path: Path
) -> None:
    library.held[1] = replace(library.held[1], duration=7200.0)
    with page_of(browser, library, tmp_path) as (page, _):
        tops = page.evaluate("""[...document.querySelectorAll('.curve-line')].map((line) =>
            Math.min(...line.getAttribute('d').match(/V[\\d.]+/g).map((v) => +v.slice(1))))""")
        assert tops == sorted(tops)
        assert len(set(tops)) == 4
        assert page.get_by_role("button", name="Enlarge the curve").count() == 1
        ends = page.locator(".hit").nth(1).locator(".ends > span")
        assert ends.all_inner_texts()[0::2] == ["00:00", "2:00:00"]
        page.get_by_role("button", name="Enlarge the curve").click()
        first, last = ends.all_inner_texts()[0::2]
        assert (first, last) == ("44:00", "1:24:00")
        page.get_by_role("button", name="Show more of the video").click()
        assert ends.all_inner_texts()[0::2] == ["00:00", "2:00:00"]


def test_copies_are_put_together(
    browser: Any, library: FakeLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = library._hit
    copy = replace(library.held[0], video_id="copy of red", metadata={"title": "Red again"})
    library.held.insert(1, copy)

    def hit(rank: int, video: LibraryVideo) -> Any:
        if video is not copy:
            return real(rank, video)
        return replace(real(1, video), rank=rank)  # the same pictures, the same scores

    monkeypatch.setattr(library, "_hit", hit)
    with page_of(browser, library, tmp_path) as (page, _):
        assert page.locator(".hit").count() == 4
        assert page.locator("#summary-text").inner_text().startswith("5 videos of 5")
        page.locator(".hit").first.get_by_text("1 copy of this video").click()
        page.get_by_role("button", name="Red again").click()
        until(page, f"{VIDEO}?.readyState > 1")
        assert page.locator("#player h2").inner_text() == "Red again"
        assert page.locator(".hit.on h2").inner_text() == "Red pan"
