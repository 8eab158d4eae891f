"""The grid of moments, the start page, the basket and the player's strip in Chromium."""

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from serve.browsing import VIDEO, page_of, search, until
from serve.fake import FakeLibrary

from dreamprvr.search.results import LibraryVideo
from dreamprvr.serve.schema import video_key

pytestmark = pytest.mark.slow


@pytest.fixture
def page(watched_page: Any) -> Any:
    watched_page.goto(watched_page.url.partition("?")[0])
    watched_page.wait_for_selector(".film")
    return watched_page


def test_moments_are_shown_first_and_best_first(page: Any) -> None:
    search(page)
    tiles = page.locator(".tile")
    assert tiles.count() == 8
    scores = page.evaluate("[...document.querySelectorAll('.tile')].map((t) => t.moments[0].score)")
    assert scores == sorted(scores, reverse=True)
    first = tiles.first
    assert first.locator(".badge").inner_text() == "00:06–00:08"
    assert first.locator(".fit").inner_text().split() == ["Match", "100", "of", "100"]
    assert first.locator(".fit").get_attribute("title") == "Match 100 of 100, score 0.900"
    until(page, "document.querySelector('.tile img').naturalWidth > 0")
    assert "view=" not in page.url


def test_the_view_is_kept_in_the_address(page: Any) -> None:
    search(page)
    page.locator(".still").first.click()
    until(page, f"{VIDEO}?.currentTime > 6.4")
    page.evaluate(f"{VIDEO}.id = 'same'")
    page.get_by_role("button", name="By video").click()
    assert page.locator(".hit").count() == 4
    assert page.locator(".hit.on h2").inner_text() == "Red pan"
    assert page.evaluate(f"{VIDEO}.id") == "same"  # it plays on
    assert "view=videos" in page.url
    assert "s=6.40" in page.url
    page.reload()
    page.wait_for_selector(".hit")
    assert page.locator(".tile").count() == 0
    assert page.locator("#view-videos").get_attribute("aria-pressed") == "true"
    search(page, "blue")  # another search keeps it
    until(page, "document.title.startsWith('blue') && document.querySelector('.hit')")
    assert page.locator(".tile").count() == 0
    page.locator(".hit").first.focus()
    page.keyboard.press("v")
    assert page.locator(".tile").count() == 8
    assert "view=" not in page.url


def test_keys_walk_through_the_grid(page: Any) -> None:
    place = "[...document.querySelectorAll('.tile')].indexOf(document.activeElement)"
    search(page)
    for key, expected in (
        ("ArrowDown", 0), ("ArrowRight", 1), ("ArrowDown", 6), ("ArrowUp", 1), ("ArrowLeft", 0),
        ("ArrowDown", 5), ("ArrowDown", 7),
    ):  # fmt: skip
        page.keyboard.press(key)
        assert page.evaluate(place) == expected, key
    page.keyboard.press("j")  # it was the last
    page.keyboard.press("k")
    page.keyboard.press("b")
    assert page.evaluate(place) == 6
    assert page.locator("#basket-count").inner_text() == "1"
    page.locator(".tile").nth(1).focus()
    page.keyboard.press("Enter")
    until(page, f"{VIDEO}?.videoWidth > 0")
    assert page.locator(".tile").nth(1).get_attribute("class") == "hit tile on"
    assert page.locator("[aria-current=true]").count() == 1
    page.keyboard.press("Escape")
    assert page.evaluate(place) == 1


def test_the_start_page_is_the_library(page: Any, library: FakeLibrary) -> None:
    titles = page.locator(".film h3").all_inner_texts()
    assert sorted(titles) == sorted(video.title for video in library.held)
    assert titles[-1] == "gone"  # its file is missing
    assert page.locator("text=Recent searches").count() == 0
    page.locator(".film", has_text="Red pan").locator(".still").click()
    until(page, f"{VIDEO}?.currentTime > 0.1")
    assert "v=" in page.url
    page.reload()
    until(page, f"{VIDEO}?.readyState > 1")  # a link to a video without a search
    page.keyboard.press("Escape")
    for text in ("red", "blue", "red"):
        search(page, text)
        until(page, f"document.title.startsWith('{text}') && document.querySelector('.hit')")
    page.goto(page.url.partition("?")[0])
    page.wait_for_selector("text=Recent searches")
    assert page.locator(".link").all_inner_texts() == ["red", "blue"]
    page.locator(".link").nth(1).click()
    until(page, "document.title.startsWith('blue') && document.querySelector('.hit')")
    page.go_back()
    page.locator("text=Forget them").click()
    page.reload()
    page.wait_for_selector(".film")
    assert page.locator(".link").count() == 0


def test_folders_and_more_videos(browser: Any, films: Path, tmp_path: Path) -> None:
    videos = [
        LibraryVideo(f"{folder}{i}", tmp_path / folder / f"{i}.mp4", 5.0, {})
        for folder in ("a", "b") for i in range(20)
    ]  # fmt: skip
    for video in videos:
        assert video.path is not None
        video.path.parent.mkdir(exist_ok=True)
        video.path.symlink_to(films / "red.mp4")
    with page_of(browser, FakeLibrary(videos), tmp_path) as (page, server):
        page.goto(server.address)
        page.wait_for_selector(".film")
        assert page.locator(".film").count() == 24
        page.get_by_role("button", name="More videos").click()
        until(page, "document.querySelectorAll('.film').length === 40")
        assert page.get_by_role("button", name="More videos").is_hidden()
        focused = "[...document.querySelectorAll('.film')].indexOf(document.activeElement)"
        assert page.evaluate(focused) == 24
        assert page.get_by_label("Folders").locator("a").all_inner_texts() == [
            "All 40", "a 20", "b 20",
        ]  # fmt: skip
        page.get_by_label("Folders").get_by_text("b", exact=False).last.click()
        until(page, "document.querySelectorAll('.film').length === 20")
        assert page.locator(".film h3").first.inner_text().startswith("b")


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
        assert tops[0] == 8  # the highest of all
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


@pytest.mark.parametrize("strength", ["weak", "fair", None])
def test_weak_matches(page: Any, strength: str | None) -> None:
    def answer(route: Any) -> None:
        response = route.fetch()
        route.fulfill(response=response, json={**response.json(), "strength": strength})

    page.route("**/api/search*", answer)
    search(page)
    assert page.locator("#weak").is_visible() == (strength == "weak")


def test_names_of_every_script_and_length(
    browser: Any, library: FakeLibrary, tmp_path: Path
) -> None:
    first = library.held[0]
    long = "a very long title " * 20
    library.held[:] = [
        replace(first, video_id="caf\\xe9\\xff", metadata={}),
        replace(first, video_id="x", metadata={"title": "שלום עולם"}),
        replace(first, video_id="y", metadata={"title": long}),
    ]
    with page_of(browser, library, tmp_path, "q=red&view=moments") as (page, _):
        titles = page.locator(".tile .title")
        assert titles.first.inner_text() == "caf\ufffd"
        hebrew = page.locator(".tile", has_text="שלום").first.locator(".title")
        assert hebrew.evaluate("(node) => getComputedStyle(node).direction") == "rtl"
        tile = page.locator(".tile", has_text="a very long").first
        height = tile.locator(".title").bounding_box()["height"]
        assert height < 50
        assert tile.locator(".title").get_attribute("title").strip() == long.strip()
        page.keyboard.press("j")
        tile.focus()
        assert tile.locator(".title").bounding_box()["height"] > 3 * height


def test_the_page_keeps_no_memory_of_old_searches(page: Any) -> None:
    """Nodes and listeners of old results are freed."""
    session = page.context.new_cdp_session(page)

    def held() -> tuple[int, int]:
        for _ in range(3):  # what a collection frees may hold what the next one frees
            session.send("HeapProfiler.collectGarbage")
        counters = session.send("Memory.getDOMCounters")
        return int(counters["nodes"]), int(counters["jsEventListeners"])

    def searches(number: int) -> None:
        for i in range(number):
            # `wait_for_selector` would hold the element that it returns
            page.fill("#query", f"red {i % 7}")
            page.press("#query", "Enter")
            until(page, f"document.title === 'red {i % 7} · DreamPRVR'")
            until(page, "document.querySelector('.hit') !== null")

    searches(8)
    nodes, listeners = held()
    searches(24)
    more_nodes, more_listeners = held()
    assert more_nodes < nodes + 100  # one result has about 20, an answer 160
    assert more_listeners == listeners


def able(page: Any) -> list[dict[str, list[str]]]:
    """Give the page a server that pages, gives all moments and searches by a moment.

    Returns:
        The parameters of its searches; the list grows.
    """
    asked: list[dict[str, list[str]]] = []

    def answer(route: Any) -> None:
        words = parse_qs(urlsplit(route.request.url).query)
        asked.append(words)
        k, skip = int(words.get("k", ["10"])[0]), int(words.get("skip", ["0"])[0])
        response = route.fetch(url=f"{page.url.partition('/?')[0]}/api/search?q=red")
        found = response.json()
        found |= {"strength": "fair", "low": 0.0, "high": 1.0, "query": "a moment"}
        for hit in found["hits"]:
            hit["relevance"] = round(90 * hit["score"])
            best = hit["moments"][0]
            hit["moments"] = [best] * (5 if "moments" in words else 3)
        found["hits"] = found["hits"][skip : skip + k]
        route.fulfill(response=response, json=found)

    page.route("**/api/search*", answer)
    return asked


def test_more_results(page: Any) -> None:
    asked = able(page)
    page.evaluate("history.replaceState(null, '', '/?view=videos')")
    page.reload()
    page.wait_for_selector(".film")
    page.evaluate("document.querySelector('#k').append(new Option('2'))")
    page.select_option("#k", "2")
    search(page)
    assert page.locator(".hit").count() == 2
    assert page.locator(".hit .fit").first.inner_text().split()[1] == "81"  # as the server says
    page.get_by_role("button", name="More results").click()
    until(page, "document.querySelectorAll('.hit').length === 4")
    assert asked[-1]["skip"] == ["2"]
    assert page.evaluate("document.activeElement.hit.rank") == 3
    page.get_by_role("button", name="More results").click()
    page.wait_for_selector("#more", state="hidden")
    assert page.locator(".hit").count() == 4


def test_all_moments_of_a_video(page: Any) -> None:
    asked = able(page)
    search(page)
    page.get_by_role("button", name="By video").click()
    first = page.locator(".hit").first
    assert first.locator(".moment").count() == 3
    first.get_by_role("button", name="All moments of Red pan").click()
    until(page, "document.querySelectorAll('.hit:first-child .moment').length === 5")
    assert (asked[-1]["moments"], asked[-1]["name"]) == (["all"], ["cooking__red"])
    assert first.get_by_role("button", name="All moments").count() == 0
    assert page.evaluate("document.activeElement.hit.rank") == 1


def test_similar_moments(page: Any) -> None:
    asked = able(page)
    search(page)
    page.locator(".still").first.click()
    until(page, f"{VIDEO}?.readyState > 1")
    page.locator("#player").get_by_text("More").click()
    page.get_by_role("link", name="Find similar").click()
    until(page, "document.title === 'Similar moments · DreamPRVR'")
    page.wait_for_selector(".hit")
    assert asked[-1] == {"like": [f"{video_key('cooking__red')}@7.2"]}
    assert page.locator("#summary-text").inner_text().startswith("a moment: 4 videos of 4")
    page.get_by_role("button", name="By video").click()
    assert "like=" in page.url
    assert "view=videos" in page.url
    page.select_option("#k", "20")  # still that search
    until(page, "location.search.includes('k=20')")
    assert "like" in asked[-1]
    search(page, "blue")
    until(page, "document.title.startsWith('blue')")
    assert "like" not in asked[-1]


def test_a_server_that_cannot_is_not_asked(page: Any) -> None:
    search(page)
    page.get_by_role("button", name="By video").click()
    page.locator(".still").first.click()
    until(page, f"{VIDEO}?.readyState > 1")
    page.locator("#player").get_by_text("More").click()
    for name in ("More results", "All moments", "Find similar"):
        assert page.get_by_text(name).locator("visible=true").count() == 0


def test_filters_by_bounds_are_shown(browser: Any, library: FakeLibrary, tmp_path: Path) -> None:
    words = "q=red&view=videos&where=tag%3Dcooking"
    with page_of(browser, library, tmp_path, words) as (page, _):
        able(page)
        page.goto(f"{page.url}&where=year%3E%3D2020")
        page.wait_for_selector(".hit")
        assert page.locator(".chip").all_text_contents() == [
            "tag: cooking: remove this filter", "year >= 2020: remove this filter",
        ]  # fmt: skip


def test_weaker_moments_are_folded(page: Any) -> None:
    def answer(route: Any) -> None:
        response = route.fetch()
        route.fulfill(response=response, json={**response.json(), "low": 0.5, "high": 0.9})

    page.route("**/api/search*", answer)
    search(page)
    assert page.locator(".tile").count() == 4  # 0.9, 0.8, 0.7 and 0.6; 0.495 is less than 0.5
    assert page.locator(".fit-bar + .unseen + span").all_inner_texts() == ["100", "75", "50", "25"]
    page.get_by_role("button", name="Show 4 weaker moments").click()
    assert page.locator(".tile").count() == 8
    assert (
        page.evaluate("[...document.querySelectorAll('.tile')].indexOf(document.activeElement)")
        == 4
    )
    assert page.locator("#weaker").is_hidden()
