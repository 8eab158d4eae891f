"""Searching and playing moments in Chromium; no test may cause an error in the page."""

import csv
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest
from serve.browsing import VIDEO, search, unfold, until
from serve.conftest import SCRIPT
from serve.fake import FakeLibrary

pytestmark = pytest.mark.slow
START, END = 6.4, 8.0  # of the best moment of red.mp4


@pytest.fixture
def page(watched_page: Any) -> Any:
    return watched_page


def test_the_interface_is_described_without_a_network(page: Any) -> None:
    page.goto(page.url.partition("?")[0] + "docs")
    page.wait_for_selector("text=GET /api/search")
    assert page.locator("section", has_text="GET /api/videos/{key}/clip.mp4").count() == 1
    assert page.locator("h2", has_text="SearchAnswer").count() == 1
    sent = page.locator("section", has_text="POST /api/search").locator("p", has_text="Body: ")
    assert "PNG, TIFF or WEBP) of at most 20,000,000 bytes" in sent.inner_text()


def test_results(page: Any) -> None:
    search(page)
    titles = page.locator(".hit h2").all_inner_texts()
    assert titles == ["Red pan", "=1+1", SCRIPT, "gone"]  # text, never markup
    assert page.title() == "red · DreamPRVR"
    assert page.locator(".hit script, .hit h2 *").count() == 0
    until(
        page,
        "[...document.querySelectorAll('.still img')].slice(0, 3).every((i) => i.naturalWidth > 0)",
    )
    assert page.locator(".hit").first.locator(".moment").all_inner_texts()[0].split() == [
        "00:06–00:08",
        "0.900",
    ]
    assert page.locator("#summary-text").inner_text().startswith("4 videos of 4, ")
    assert page.locator("#live").inner_text() == "4 videos found"


def test_a_query_is_text(page: Any) -> None:
    search(page, SCRIPT)
    page.locator(".moment").first.click()
    until(page, f"{VIDEO}?.videoWidth > 0")
    assert page.title() == f"{SCRIPT} · DreamPRVR"
    page.reload()
    page.wait_for_selector(".hit")
    assert page.input_value("#query") == SCRIPT


def test_a_link_reopens_the_search_and_the_moment(page: Any, browser: Any) -> None:
    unfold(page)
    page.select_option("#k", "5")
    page.select_option("#filter", "tag=cooking")
    search(page)
    page.locator(".hit").first.locator(".moment").nth(1).click()
    until(page, f"{VIDEO}?.currentTime > 1.6")
    link = page.url
    other = browser.new_page()
    other.goto(link)
    until(other, f"{VIDEO}?.currentTime > 1.5")
    assert other.input_value("#query") == "red"
    assert other.input_value("#k") == "5"
    assert other.locator(".chip").all_text_contents() == ["tag: cooking: remove this filter"]
    assert other.locator(".hit").count() == 2
    assert other.evaluate(f"{VIDEO}.paused")  # nobody has asked for sound
    assert other.locator("[aria-current=true]").inner_text().startswith("00:01–00:03")
    other.close()


def test_back_and_forward(page: Any) -> None:
    search(page, "first")
    page.locator(".moment").first.click()
    search(page, "second")
    until(page, "document.title.startsWith('second')")
    assert "v=" not in page.url
    page.go_back()
    until(page, "document.title.startsWith('first') && document.querySelector('.hit.on')")
    assert page.input_value("#query") == "first"
    page.go_back()
    page.wait_for_selector(".welcome")
    page.go_forward()
    page.go_forward()
    until(page, "document.title.startsWith('second')")


def test_keys(page: Any) -> None:
    focused = "document.activeElement.matches('.hit') && document.activeElement.hit.rank"
    search(page)
    page.keyboard.press("ArrowDown")
    assert page.evaluate(focused) == 1
    page.keyboard.press("j")
    assert page.evaluate(focused) == 2
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    until(page, f"{VIDEO}?.currentTime > {START}")
    page.keyboard.press("2")
    until(page, f"{VIDEO}.currentTime < 3.3")
    page.keyboard.press(" ")
    until(page, f"{VIDEO}.paused")
    page.keyboard.press("Escape")
    assert page.locator("#player").is_hidden()
    assert page.evaluate(focused) == 1  # back where it came from
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    assert page.locator("#help").is_hidden()
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "query"
    page.keyboard.type("j/?")  # letters are letters there
    assert page.input_value("#query") == "j/?"


def test_filters_and_the_least_score(page: Any, library: FakeLibrary) -> None:
    search(page)
    unfold(page)
    page.select_option("#filter", "tag=travel")
    until(page, "document.querySelectorAll('.hit').length === 1")
    page.fill("#threshold", "0.95")
    page.press("#threshold", "Enter")
    page.wait_for_selector(".nothing")
    assert library.calls[-1]["threshold"] == 0.95
    page.locator(".nothing button").click()
    until(page, "document.querySelectorAll('.hit').length === 4")
    assert page.locator(".chip").count() == 0


def saved(page: Any, click: Callable[[], None]) -> tuple[str, bytes]:
    with page.expect_download() as download:
        click()
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def test_exports(page: Any, tmp_path: Path) -> None:
    search(page)
    name, data = saved(page, page.locator("#save-csv").click)
    table = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"))))
    assert (name, len(table), table[2]["title"]) == ("moments.csv", 8, "'=1+1")
    name, data = saved(page, page.locator("#save-vtt").click)
    assert len(zipfile.ZipFile(io.BytesIO(data)).namelist()) == 4
    page.locator(".moment").first.click()
    name, data = saved(page, page.get_by_role("link", name="Save as mp4").click)
    assert name == "Red pan 00.06-00.08.mp4"
    (tmp_path / "clip.mp4").write_bytes(data)
    with av.open(tmp_path / "clip.mp4") as clip:
        assert float((clip.duration or 0) / av.time_base) == pytest.approx(END - START, abs=0.1)
        assert len(clip.streams.audio) == 1
    page.locator("#player").get_by_text("More").click()
    name, data = saved(page, page.locator("#player").get_by_role("link", name="WebVTT").click)
    assert (name, data[:6]) == ("Red pan.vtt", b"WEBVTT")


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


def test_the_continue_button_plays_past_the_end(page: Any) -> None:
    search(page)
    page.locator(".moment").first.click()
    until(page, f"{VIDEO} && {VIDEO}.currentTime > {START}")
    page.get_by_role("button", name="Continue").click()
    until(page, f"{VIDEO}.currentTime > {END + 0.5}")
    assert not page.evaluate(f"{VIDEO}.paused")
    assert page.locator(".state").inner_text() == "Playing beyond the moment."


def test_the_controls_of_the_video_may_leave_the_moment(page: Any) -> None:
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


def test_a_file_that_the_browser_cannot_play_is_played_in_pieces(page: Any) -> None:
    search(page)
    numbers: list[int] = []
    page.on("request", lambda request: "/pieces/" in request.url
            and numbers.append(int(request.url.rpartition("/")[2].partition(".")[0])))  # fmt: skip
    page.locator(".hit").nth(1).locator(".moment").first.click()  # old.avi, 3.2 to 4.0
    until(page, f"{VIDEO} && {VIDEO}.videoWidth > 0 && {VIDEO}.currentTime > 3.2")
    assert page.evaluate(f"{VIDEO}.src").startswith("blob:")
    until(page, f"{VIDEO}.paused")
    assert 3.88 <= now(page) <= 4.0
    assert page.evaluate(f"{VIDEO}.duration") == pytest.approx(6.0, abs=0.01)
    assert numbers == [3, 4, 5]  # the moment first
    page.keyboard.press("c")  # to the end of the video
    until(page, f"{VIDEO}.ended")
    page.evaluate(f"{VIDEO}.currentTime = 0.5")
    until(page, f"!{VIDEO}.seeking && {VIDEO}.readyState > 1")
    assert numbers[:4] == [3, 4, 5, 0]
    page.evaluate(f"{VIDEO}.play()")
    until(page, f"{VIDEO}.currentTime > 2.2")  # over the edge of two pieces
    assert page.locator("#player .cannot").count() == 0


def test_a_file_that_this_browser_can_play_is_not_encoded(page: Any) -> None:
    """Chromium plays Matroska; others may say that they do not, and get pieces."""
    search(page)
    page.locator(".hit").nth(2).locator(".moment").first.click()  # copy.mkv, 3.2 to 4.0
    until(page, f"{VIDEO} && {VIDEO}.videoWidth > 0 && {VIDEO}.currentTime > 3.2")
    assert page.evaluate(f"{VIDEO}.src").endswith("/media")
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
