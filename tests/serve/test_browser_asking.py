"""What can be asked besides a sentence, in Chromium: what follows, ranges, a picture."""

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from serve.browsing import page_of, search, unfold, until
from serve.fake import FakeLibrary
from serve.films import png

from dreamprvr.core.errors import UserError

pytestmark = pytest.mark.slow
CHIPS = "[...document.querySelectorAll('.chip')].map((chip) => chip.textContent.split(':')[0])"


@pytest.fixture
def page(home_page: Any) -> Any:
    return home_page


def results(page: Any, number: int) -> None:
    until(page, f"document.querySelectorAll('.hit').length === {number}")


def test_what_follows_later(page: Any, library: FakeLibrary) -> None:
    unfold(page)
    page.fill("#then", "a cat")
    assert page.locator("#without").is_disabled()  # a search has one of them
    search(page)
    assert library.calls[-1]["then"] == "a cat"
    assert page.locator("#summary-text").inner_text().startswith("red, then a cat: 4 videos of 4")
    assert page.locator(".tile").count() == 4  # both moments of a video stand together
    first = page.locator(".tile").first
    assert first.locator(".badge").all_inner_texts() == ["00:06–00:08", "00:01–00:03"]
    first.locator(".keep").nth(1).click()
    assert page.locator("#basket-count").inner_text() == "1"
    first.focus()
    page.keyboard.press("2")
    until(page, "document.querySelector('video')?.currentTime > 1.6")
    assert first.locator("[aria-current]").count() == 1
    page.reload()  # the link restores it, and shows it
    results(page, 4)
    assert page.input_value("#then") == "a cat"
    assert page.locator("#options").is_visible()
    page.fill("#then", "")
    page.press("#then", "Enter")
    until(page, "!location.search.includes('then')")
    results(page, 8)
    assert library.calls[-1]["then"] is None
    assert page.locator("#without").is_enabled()


def test_what_is_not_seen(page: Any, library: FakeLibrary) -> None:
    unfold(page)
    page.fill("#without", "a dog")
    assert page.locator("#then").is_disabled()
    search(page)
    assert library.calls[-1]["without"] == "a dog"
    page.goto(f"{page.url}&then=a+cat")  # a link that somebody has put together
    until(page, "document.querySelector('.pair')")
    assert (library.calls[-1]["then"], library.calls[-1]["without"]) == ("a cat", None)
    assert page.input_value("#without") == ""


def test_options_stay_unfolded_in_this_browser(page: Any) -> None:
    assert page.locator("#options").is_hidden()
    unfold(page)
    page.reload()
    page.wait_for_selector(".film")
    assert page.locator("#options").is_visible()
    assert page.locator("#more-options").get_attribute("aria-expanded") == "true"
    page.locator("#more-options").click()
    assert page.locator("#options").is_hidden()
    page.reload()
    page.wait_for_selector(".film")
    assert page.locator("#options").is_hidden()


def test_ranges_of_numbers(page: Any, library: FakeLibrary) -> None:
    search(page)
    unfold(page)
    assert page.locator("#range-column option").all_inner_texts() == ["length, in seconds", "year"]
    page.fill("#range-least", "9")
    page.fill("#range-most", "6")  # the other way round
    page.press("#range-most", "Enter")
    results(page, 6)  # two moments of each of three videos
    assert library.calls[-1]["where"] == {"length": ["6..9"]}
    assert page.evaluate(CHIPS) == ["length"]
    assert page.locator(".chip bdi").inner_text() == "6 to 9"
    page.select_option("#range-column", "year")
    assert page.get_attribute("#range-least", "placeholder") == "2019"
    page.fill("#range-most", "2020")
    page.get_by_role("button", name="Add the range").click()
    results(page, 2)
    assert page.evaluate(CHIPS) == ["length", "year to 2020"]
    page.get_by_role("button", name="Add the range").click()  # nothing is in the fields
    assert page.evaluate("document.activeElement.id") == "range-least"
    page.reload()
    results(page, 2)
    page.locator(".chip").first.click()
    until(page, "location.search.includes('year') && !location.search.includes('length')")


def test_ranges_of_dates(browser: Any, library: FakeLibrary, tmp_path: Path) -> None:
    library.held[:] = [
        replace(video, metadata={"date": f"2024-0{i}-15", "taken": str(2020 + i)})
        for i, video in enumerate(library.held, 1)
    ]
    with page_of(browser, library, tmp_path, "q=red") as (page, _):
        unfold(page)
        page.select_option("#range-column", "date")
        page.fill("#range-least", "2024-03-01")
        page.press("#range-least", "Enter")
        results(page, 4)
        assert library.calls[-1]["where"] == {"date": [">=2024-03-01"]}
        assert page.get_attribute("#range-least", "min") == "2024-01-15"
        page.select_option("#range-column", "taken")
        page.fill("#range-most", "2023.5")
        page.press("#range-most", "Enter")
        results(page, 2)


FILE = {"name": "a.png", "mimeType": "image/png", "buffer": png()}
GIVEN = """([data, kind]) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], "a.png", { type: "image/png" }));
  const Kind = { drop: DragEvent, dragover: DragEvent, paste: ClipboardEvent }[kind];
  const data_ = { dataTransfer: transfer, clipboardData: transfer };
  const event = new Kind(kind, { bubbles: true, cancelable: true, ...data_ });
  document.body.dispatchEvent(event);
  return event.defaultPrevented;
}"""


def give(page: Any, kind: str, content: bytes) -> bool:
    """Drop or paste a picture; return whether the page keeps the browser from opening it."""
    return bool(page.evaluate(GIVEN, [base64.b64encode(content).decode(), kind]))


def test_a_picture_is_chosen(page: Any, library: FakeLibrary) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Search with a picture").click()
    chooser.value.set_files(files=[FILE])
    results(page, 8)
    assert library.calls[-1]["image"] == png()
    assert page.title() == "Similar moments · DreamPRVR"
    assert page.locator("#summary-text").inner_text().startswith("like a picture: 4 videos of 4")
    until(page, "document.querySelector('#example img').naturalWidth > 0")
    unfold(page)
    page.select_option("#filter", "tag=travel")  # of the same picture
    results(page, 2)
    assert library.calls[-1]["image"] == png()
    page.reload()
    results(page, 2)
    page.go_back()
    results(page, 8)
    with page.expect_download() as download:
        page.locator("#save-csv").click()
    assert download.value.suggested_filename == "moments.csv"
    page.get_by_role("button", name="Do not search for moments like this picture").click()
    page.wait_for_selector(".film")
    assert page.locator("#example").is_hidden()
    assert page.evaluate("location.search") == ""
    assert page.evaluate("document.activeElement.id") == "query"


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_a_picture_is_dropped_or_pasted(page: Any, library: FakeLibrary, kind: str) -> None:
    page.fill("#query", "red")
    if kind == "drop":
        assert give(page, "dragover", png())
        assert page.evaluate("document.body.className") == "dropping"
    assert give(page, kind, png())
    results(page, 8)
    assert page.evaluate("document.body.className") == ""
    assert library.calls[-1]["image"] == png()
    assert page.input_value("#query") == ""
    search(page, "red")  # a sentence takes its place
    until(page, "document.title.startsWith('red')")
    assert library.calls[-1]["image"] is None
    assert page.locator("#example").is_hidden()


def test_what_is_no_picture_is_said(
    browser: Any, library: FakeLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with page_of(browser, library, tmp_path, "q=red") as (page, _):
        page.set_input_files("#picture-file", files=[{**FILE, "buffer": b"hello"}])
        line = page.locator(".wrong p")
        line.wait_for()
        assert line.inner_text().startswith("The picture cannot be read as a picture: it is in")
        assert "q=red" in page.url  # the address keeps the search before it
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Choose another picture").click()

        def refuse(*arguments: Any, **options: Any) -> None:
            raise UserError("encoder x does not put pictures and sentences into one space")

        monkeypatch.setattr(library, "search", refuse)
        chooser.value.set_files(files=[FILE])
        until(page, "document.querySelector('.wrong p')?.textContent.startsWith('encoder x does')")


def test_a_picture_that_the_server_has_forgotten(
    browser: Any, library: FakeLibrary, tmp_path: Path
) -> None:
    with page_of(browser, library, tmp_path, "q=red") as (page, server):
        page.goto(f"{server.address}/?image={'0' * 40}")
        page.wait_for_selector(".wrong")
        line = "The server has forgotten this picture: send it again"
        assert page.locator(".wrong p").inner_text() == line
