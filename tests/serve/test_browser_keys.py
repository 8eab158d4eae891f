"""Everything without a mouse: filters, the player, and keys that can be turned off."""

from typing import Any

import pytest
from serve.browsing import until

pytestmark = pytest.mark.slow
FOCUSED = "document.activeElement.textContent"
RANK = "document.activeElement.matches('.hit') && document.activeElement.hit.rank"


def results(page: Any, number: int) -> None:
    until(page, f"document.querySelectorAll('.hit').length === {number}")


@pytest.mark.parametrize("by", ["Enter", "the button"])
def test_arrows_choose_a_filter_and_do_not_apply_it(page: Any, by: str) -> None:
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
    assert page.locator(".chip").all_inner_texts() == ["tag: travel×"]
    assert page.locator("#filter-add").is_hidden()
    assert page.evaluate("document.activeElement.id") == "filter"


def test_a_click_on_a_filter_is_enough(page: Any) -> None:
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
    page.get_by_label("Keys of one character").uncheck()
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
    page.get_by_label("Keys of one character").check()
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
