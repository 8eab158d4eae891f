"""What can be seen at once: the player beside, above or below the results, and large text."""

from typing import Any

import pytest
from serve.browsing import until
from serve.fake import FakeLibrary

pytestmark = pytest.mark.slow

# of everything that the player holds: what lies outside it or outside the window
HIDDEN = """() => {
  const player = document.querySelector("#player");
  const box = player.getBoundingClientRect();
  const parts = player.querySelectorAll("button, a, video, .curve, .span");
  return [...parts].filter((part) => {
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
    seen = page.locator("#player [role=slider]")  # one's place in the video, without a scroll
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


def test_text_of_twice_the_size(page: Any) -> None:
    page.set_viewport_size({"width": 640, "height": 900})
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


def test_as_many_characters_as_the_box_takes(page: Any, library: FakeLibrary) -> None:
    page.locator("#query").fill("")
    page.locator("#query").focus()
    page.keyboard.insert_text("動" * 3000)
    page.press("#query", "Enter")
    until(page, "document.title.startsWith('動') && document.querySelector('.hit')")
    assert library.calls[-1]["text"] == "動" * 1500
