"""Whether everybody can use the page: names, order, contrast, narrow screens, less motion."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serve.browsing import Server, until
from serve.fake import FakeLibrary, keeper_of

from dreamprvr.serve.app import create_app

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


@pytest.fixture
def page(browser: Any, library: FakeLibrary, tmp_path: Path) -> Iterator[Any]:
    """A search with the player open and every explanation unfolded."""
    app = create_app(keeper_of(library, tmp_path / "library"), tmp_path / "cache")
    page = browser.new_page()
    with Server(app) as server:
        page.goto(f"{server.address}/?q=red&where=tag%3Dcooking&where=tag%3Dtravel")
        page.wait_for_selector(".hit")
        page.locator(".moment").first.click()
        until(page, "document.querySelector('video')?.readyState > 1")
        page.evaluate("document.querySelector('video').pause()")
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        yield page
        page.close()


def test_everything_has_a_name(page: Any) -> None:
    controls = page.locator(
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


def test_landmarks_and_headings(page: Any) -> None:
    for role in ("banner", "search", "main", "complementary", "status"):
        assert page.get_by_role(role).count() >= 1, role
    assert page.locator("h1:visible").count() == 1
    assert page.evaluate("document.documentElement.lang") == "en"


def test_tab_goes_from_top_to_bottom(page: Any) -> None:
    page.locator(".skip").focus()  # the first of all
    order = []
    for _ in range(60):
        page.keyboard.press("Tab")
        here = page.evaluate(PART)
        if here and here not in order:
            order.append(here)
    assert order == ["top", "search-form", "hit", "player"]
    page.keyboard.press("Shift+Tab")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"  # the focus can be seen


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(page: Any, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 19, 23)"
    assert dark == (scheme == "dark")
    assert page.evaluate(FAINT) == []


def test_the_measure_of_contrast_finds_faint_text(page: Any) -> None:
    page.evaluate("document.querySelector('.hit h2').style.color = '#bbbbbb'")
    assert len(page.evaluate(FAINT)) == 1


@pytest.mark.parametrize("width", [360, 768])
def test_narrow_screens(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    box = page.locator("#player").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width + 1
    assert box["y"] + box["height"] <= 741
    small = page.locator(".moment:visible, .player-buttons :is(a, button):visible").evaluate_all(
        "nodes => nodes.filter((node) => node.offsetHeight < 24).length"
    )
    assert small == 0  # WCAG 2.2: a target is at least 24 pixels high


def test_less_motion(page: Any) -> None:
    page.emulate_media(reduced_motion="reduce")
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('div'), {className: 'bone'}))"
    )
    assert (
        page.evaluate("getComputedStyle(document.querySelector('.bone')).animationName") == "none"
    )
