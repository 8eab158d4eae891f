"""Everybody can use the page: names, order, contrast, screens of any size, keys, less motion."""

from collections.abc import Iterator
from typing import Any

import pytest
from serve.browsing import page_of, unfold, until
from serve.fake import FakeLibrary

from dreamprvr.search.results import LibraryVideo

pytestmark = pytest.mark.slow

# text and the nearest background behind it, WCAG 2: 4.5, for large text 3
FAINT = """() => {
  const parse = (colour) => {
    const [r, g, b, a = 1] = colour.match(/[\\d.]+/g).map(Number);
    return [r, g, b, a];
  };
  const over = (top, below) => top.slice(0, 3).map((v, i) => v * top[3] + below[i] * (1 - top[3]));
  const behind = (node) => {
    const layers = [];
    for (let at = node; at; at = at.parentElement) {
      layers.push(parse(getComputedStyle(at).backgroundColor));
      if (layers.at(-1)[3] === 1) break;
    }
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255]);
  };
  const light = (colour) => colour.slice(0, 3)
    .map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const faint = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !node.checkVisibility()) continue;
    if (node.closest(".unseen, option")) continue;
    const style = getComputedStyle(node);
    const ground = behind(node);
    const ink = over(parse(style.color), ground);
    const [high, low] = [light(ink), light(ground)].sort((a, b) => b - a);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < (large ? 3 : 4.5)) faint.push(`${ratio.toFixed(2)} ${walk.currentNode.data}`);
  }
  return faint;
}"""


PART = """() => {
  const part = document.activeElement.closest(".top, #search-form, .hit, #player");
  return part && (part.id || part.className.split(" ")[0]);
}"""


@pytest.fixture(scope="module")
def full_page(
    browser: Any, videos: list[LibraryVideo], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """A search with the player open and every explanation unfolded."""
    folder, words = tmp_path_factory.mktemp("full"), "where=tag%3Dcooking&where=tag%3Dtravel"
    with page_of(browser, FakeLibrary(videos), folder, f"q=red&view=videos&{words}") as (page, _):
        page.locator(".moment").first.click()
        until(page, "document.querySelector('video')?.readyState > 1")
        page.evaluate("document.querySelector('video').pause()")
        unfold(page)
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        yield page


def test_everything_has_a_name(full_page: Any) -> None:
    controls = full_page.locator(
        "button, a, input, select, summary, video, progress, [role=slider], [role=group]"
    )
    nameless = []
    for control in controls.all():
        if control.is_visible():
            line = control.aria_snapshot().partition("\n")[0]  # none of a video
            text = "node => node.matches('summary') && node.textContent.trim()"
            named = '"' in line or control.get_attribute("aria-label") or control.evaluate(text)
            if not named:
                nameless.append(control.evaluate("node => node.outerHTML"))
    assert controls.count() > 20
    assert nameless == []


def test_landmarks_and_headings(full_page: Any) -> None:
    for role in ("banner", "search", "main", "complementary", "status"):
        assert full_page.get_by_role(role).count() >= 1, role
    assert full_page.locator("h1:visible").count() == 1
    assert full_page.evaluate("document.documentElement.lang") == "en"


def test_the_tab_key_moves_from_top_to_bottom(full_page: Any) -> None:
    full_page.locator(".skip").focus()  # the first of all
    order = []
    for _ in range(60):
        full_page.keyboard.press("Tab")
        here = full_page.evaluate(PART)
        if here and here not in order:
            order.append(here)
    assert order == ["top", "search-form", "hit", "player"]
    full_page.keyboard.press("Shift+Tab")
    outline = full_page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"  # the focus can be seen


def test_contrast(full_page: Any) -> None:
    for scheme in ("dark", "light"):
        full_page.emulate_media(color_scheme=scheme)
        ground = full_page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(18, 19, 23)") == (scheme == "dark")
        assert full_page.evaluate(FAINT) == []


def test_the_measure_of_contrast_finds_faint_text(full_page: Any) -> None:
    full_page.evaluate("document.querySelector('.hit h2').style.color = '#bbbbbb'")
    assert len(full_page.evaluate(FAINT)) == 1
    full_page.evaluate("document.querySelector('.hit h2').style.color = ''")


def test_reduced_motion_stops_animations(full_page: Any) -> None:
    full_page.emulate_media(reduced_motion="reduce")
    full_page.evaluate(
        "document.body.append(Object.assign(document.createElement('div'), {className: 'bone'}))"
    )
    assert (
        full_page.evaluate("getComputedStyle(document.querySelector('.bone')).animationName")
        == "none"
    )


@pytest.mark.parametrize("width", [360, 768])
def test_narrow_screens(full_page: Any, width: int) -> None:
    full_page.set_viewport_size({"width": width, "height": 740})
    assert full_page.evaluate("document.documentElement.scrollWidth") <= width
    box = full_page.locator("#player").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width + 1
    assert box["y"] + box["height"] <= 741
    small = full_page.locator(
        ".moment:visible, .player-buttons :is(a, button):visible"
    ).evaluate_all("nodes => nodes.filter((node) => node.offsetHeight < 24).length")
    assert small == 0  # WCAG 2.2: a target is at least 24 pixels high


# of everything that the player holds: what lies outside it or outside the window
HIDDEN = """() => {
  const player = document.querySelector("#player");
  const box = player.getBoundingClientRect();
  const parts = player.querySelectorAll("button, a, video, .curve, .span");
  return [...parts].filter((part) => part.checkVisibility()).filter((part) => {
    const { left, right, top, bottom } = part.getBoundingClientRect();
    return right - left < 8 || left < box.left || right > box.right + 1 || top < box.top
      || bottom > Math.min(box.bottom, innerHeight) + 1;
  }).map((part) => part.outerHTML.slice(0, 60));
}"""
# whether the middle of the moment's button of the playing result is what one would touch there
SEEN = """() => {
  const button = document.querySelector(".hit.on .moment");
  const { left, top, width, height } = button.getBoundingClientRect();
  return button.contains(document.elementFromPoint(left + width / 2, top + height / 2));
}"""


@pytest.mark.parametrize(
    ("width", "height"),
    [(320, 640), (390, 844), (740, 360), (844, 390), (768, 1024), (1000, 800), (1280, 720)],
)
def test_the_player_and_its_result_are_both_seen(page: Any, width: int, height: int) -> None:
    page.set_viewport_size({"width": width, "height": height})
    page.locator(".hit").nth(2).locator(".moment").first.click()
    until(page, "document.querySelector('video')?.readyState > 1")
    assert page.evaluate(HIDDEN) == []
    assert page.evaluate(SEEN)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    stage = page.locator(".stage").bounding_box()
    assert 60 < stage["height"] <= 0.4 * height + 1
    seen = page.locator("#player .curve")  # one's place in the video, without a scroll
    seen.focus()
    page.keyboard.press("Home")
    until(page, "document.querySelector('video').currentTime < 1")


def test_the_last_result_can_be_scrolled_out_from_under_the_player(page: Any) -> None:
    page.set_viewport_size({"width": 768, "height": 700})
    page.locator(".moment").first.click()
    until(page, "document.querySelector('video')?.readyState > 1")
    page.mouse.move(300, 100)
    page.mouse.wheel(0, 10_000)
    last = "document.querySelector('.hit:last-child').getBoundingClientRect().bottom"
    until(page, f"{last} <= document.querySelector('#player').getBoundingClientRect().top")


def test_text_of_double_size_fits(page: Any) -> None:
    page.set_viewport_size({"width": 640, "height": 900})
    unfold(page)
    page.evaluate("document.documentElement.style.fontSize = '32px'")
    clipped = page.locator(".options select, .options input").evaluate_all(
        "nodes => nodes.filter((node) => node.clientHeight < 1.2 * "
        "parseFloat(getComputedStyle(node).fontSize)).map((node) => node.id)"
    )
    assert clipped == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 640


def test_the_curve_of_a_missing_file_is_a_picture(page: Any) -> None:
    curve = page.locator(".hit").nth(3).locator(".curve")
    assert curve.get_attribute("role") == "img"
    assert curve.get_attribute("tabindex") is None
    curve.click()
    assert curve.locator(".curve-head").get_attribute("visibility") == "hidden"
    assert page.locator("#player").is_hidden()


def test_the_longest_query_that_the_box_takes_is_searched(page: Any, library: FakeLibrary) -> None:
    page.locator("#query").fill("")
    page.locator("#query").focus()
    page.keyboard.insert_text("動" * 3000)
    page.press("#query", "Enter")
    until(page, "document.title.startsWith('動') && document.querySelector('.hit')")
    assert library.calls[-1]["text"] == "動" * 1500


FOCUSED = "document.activeElement.textContent"
RANK = "document.activeElement.matches('.hit') && document.activeElement.hit.rank"


def results(page: Any, number: int) -> None:
    until(page, f"document.querySelectorAll('.hit').length === {number}")


@pytest.mark.parametrize("by", ["Enter", "the button"])
def test_arrows_choose_a_filter_and_do_not_apply_it(page: Any, by: str) -> None:
    unfold(page)
    choice = page.locator("#filter")
    choice.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert choice.input_value() == "tag=travel"
    page.wait_for_timeout(300)  # a search would have begun
    assert page.locator(".hit").count() == 4
    assert page.locator(".chip").count() == 0
    if by == "Enter":
        page.keyboard.press("Enter")
    else:
        page.keyboard.press("Tab")
        assert page.evaluate(FOCUSED) == "Add the filter"
        page.keyboard.press("Space")
    results(page, 1)
    assert page.locator(".chip").all_text_contents() == ["tag: travel: remove this filter"]
    assert page.locator("#filter-add").is_hidden()
    assert page.evaluate("document.activeElement.id") == "filter"


def test_a_click_on_a_filter_is_enough(page: Any) -> None:
    unfold(page)
    page.locator("#filter").focus()
    page.keyboard.press("ArrowDown")
    page.locator("#filter").dispatch_event("pointerdown")
    page.select_option("#filter", "tag=travel")  # as the open list does
    results(page, 1)


def test_to_the_player_and_back(page: Any) -> None:
    page.keyboard.press("p")  # there is none
    page.locator(".hit").nth(1).focus()
    page.locator(".hit").nth(0).focus()
    page.keyboard.press("Enter")
    until(page, "document.querySelector('video')?.readyState > 1")
    page.keyboard.press("p")
    assert page.evaluate(FOCUSED) == "Replay moment"
    for label in ("Continue", "Save as mp4"):
        page.keyboard.press("Tab")
        assert page.evaluate(FOCUSED) == label
    page.keyboard.press("Escape")
    assert page.evaluate(RANK) == 1
    assert page.locator("#player").is_visible()
    page.keyboard.press("Escape")
    assert page.locator("#player").is_hidden()
    assert page.evaluate(RANK) == 1


def test_a_way_to_the_player_without_letters(page: Any) -> None:
    way = page.locator(".hit").first.locator(".to-player")
    assert way.is_hidden()  # nothing plays
    page.locator(".hit").first.locator(".moment").nth(1).focus()
    page.keyboard.press("Enter")
    until(page, "document.querySelector('video')?.readyState > 1")
    assert page.locator(".to-player:visible").count() == 1
    page.keyboard.press("Tab")
    assert way.bounding_box()["width"] > 60  # it is seen where it has the focus
    page.keyboard.press("Enter")
    assert page.evaluate(FOCUSED) == "Replay moment"


def test_letters_can_be_turned_off(page: Any) -> None:
    page.keyboard.press("?")
    page.get_by_label("Use keys of one character").uncheck()
    page.keyboard.press("Escape")
    for key in ("j", "?", "/"):
        page.keyboard.press(key)
        assert page.evaluate("document.activeElement === document.body || !document.activeElement"
                             ".matches('.hit, #query')")  # fmt: skip
        assert page.locator("#help").is_hidden()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("1")
    assert page.locator("#player").is_hidden()
    page.keyboard.press("Enter")  # no character
    page.wait_for_selector("#player:not([hidden])")
    page.reload()
    page.wait_for_selector(".hit")
    page.keyboard.press("j")
    assert page.evaluate(RANK) is False  # it is remembered
    page.locator("#help-button").click()
    page.get_by_label("Use keys of one character").check()
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    assert page.evaluate(RANK) == 1


def test_the_list_of_keys_opens_at_its_top(page: Any) -> None:
    page.set_viewport_size({"width": 320, "height": 500})
    page.locator("#help-button").click()
    assert page.evaluate("document.querySelector('#help').scrollTop") == 0
    assert page.evaluate("document.activeElement.id") == "help-title"
    help_ = "document.querySelector('#help')"
    assert page.evaluate(f"{help_}.scrollWidth <= {help_}.clientWidth")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "help-button"
