"""The grid of moments, the start page, and what a server can do more, in Chromium."""

from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from serve.browsing import VIDEO, page_of, search, unfold, until
from serve.fake import FakeLibrary

from dreamprvr.search.results import LibraryVideo
from dreamprvr.serve.schema import video_key

pytestmark = pytest.mark.slow


@pytest.fixture
def page(home_page: Any) -> Any:
    return home_page


def answering(page: Any, **changed: Any) -> None:
    """Let the answers of searches hold other values; None takes a name out."""

    def answer(route: Any) -> None:
        response = route.fetch()
        values = {**response.json(), **changed}
        route.fulfill(
            response=response, json={name: v for name, v in values.items() if v is not None}
        )

    page.route("**/api/search*", answer)


def test_moments_are_shown_first_and_best_first(page: Any) -> None:
    answering(page, low=0.0, high=1.0)
    search(page)
    tiles = page.locator(".tile")
    assert tiles.count() == 8
    scores = page.evaluate("[...document.querySelectorAll('.tile')].map((t) => t.moments[0].score)")
    assert scores == sorted(scores, reverse=True)
    first = tiles.first
    assert first.locator(".badge").inner_text() == "00:06–00:08"
    assert first.locator(".fit").inner_text().split() == ["Match", "90", "of", "100"]
    assert first.locator(".fit").get_attribute("title") == "Match 90 of 100, score 0.900"
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
    for row in range(3):  # each shows its row of the file of stills
        place = f"document.querySelectorAll('.film img')[{row}]"
        until(page, f"{place}.naturalHeight === 4 * 135")
        box, tile = (
            page.evaluate(f"{element}.getBoundingClientRect().toJSON()")
            for element in (place, f"{place}.parentElement")
        )
        line = tile["height"] / 133  # the outermost lines of the row's 135 are not seen
        assert box["height"] == pytest.approx(4 * 135 * line, abs=0.1)
        assert box["top"] == pytest.approx(tile["top"] - (135 * row + 1) * line, abs=0.1)
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
    focused = "[...document.querySelectorAll('.film')].indexOf(document.activeElement)"
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
        assert page.locator(".film").count() == 12
        page.get_by_role("button", name="More videos").click()
        until(page, "document.querySelectorAll('.film').length === 36")
        assert page.evaluate(focused) == 12
        page.get_by_role("button", name="More videos").click()
        until(page, "document.querySelectorAll('.film').length === 40")
        assert page.get_by_role("button", name="More videos").is_hidden()
        assert page.evaluate(focused) == 36
        assert page.get_by_label("Folders").locator("a").all_inner_texts() == [
            "All 40", "a 20", "b 20",
        ]  # fmt: skip
        page.get_by_label("Folders").get_by_text("b", exact=False).last.click()
        until(page, "document.querySelector('#home-videos')?.textContent === 'b'")
        until(page, "document.querySelectorAll('.film').length === 12")
        assert page.locator(".film h3").first.inner_text().startswith("b")


@pytest.mark.parametrize("strength", ["weak", "fair", None])
def test_weak_matches(page: Any, strength: str | None) -> None:
    answering(page, strength=strength)
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
    unfold(page)
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
    assert page.locator("#example").inner_text().startswith("Like this moment")
    until(page, "document.querySelector('#example img').naturalWidth > 0")
    page.get_by_role("button", name="By video").click()
    assert "like=" in page.url
    assert "view=videos" in page.url
    unfold(page)
    page.select_option("#k", "20")  # still that search
    until(page, "location.search.includes('k=20')")
    assert "like" in asked[-1]
    search(page, "blue")
    until(page, "document.title.startsWith('blue')")
    assert "like" not in asked[-1]


def test_filters_by_bounds_are_shown(browser: Any, library: FakeLibrary, tmp_path: Path) -> None:
    words = "q=red&view=videos&where=tag%3Dcooking"
    with page_of(browser, library, tmp_path, words) as (page, _):
        able(page)
        page.goto(f"{page.url}&where=year%3E%3D2020")
        page.wait_for_selector(".hit")
        assert page.locator(".chip").all_text_contents() == [
            "tag: cooking: remove this filter", "year from 2020: remove this filter",
        ]  # fmt: skip


def test_weaker_moments_are_folded(page: Any) -> None:
    answering(page, low=0.5, high=0.9)
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


def test_spoken_words_are_quoted_and_ranked(page: Any) -> None:
    def answer(route: Any) -> None:
        response = route.fetch()
        found = {**response.json(), "low": 0.0, "high": 1.0}
        found["hits"][3]["moments"][1] |= {"words": "a red pan <b>", "share": 0.95}
        found["hits"][0]["moments"][0] |= {"words": None, "share": None}
        route.fulfill(response=response, json=found)

    page.route("**/api/search*", answer)
    search(page)
    first = page.locator(".tile").first
    assert first.locator("h2").inner_text() == "gone"
    assert first.locator(".said").inner_text() == "a red pan <b>"
    assert first.locator(".fit").get_attribute("title") == "Match 95 of 100, score 0.330"
    assert page.locator(".said").count() == 1
