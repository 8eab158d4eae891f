"""The audit of accessibility by axe-core finds nothing, on every view of the page."""

from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest
from serve.browsing import page_of, until
from serve.fake import FakeLibrary
from serve.films import png

from dreamprvr.search.results import LibraryVideo

pytest.importorskip("axe_playwright_python", reason="needs the package axe-playwright-python")
pytestmark = pytest.mark.slow
# all rules, also those of best practice, and two that axe still calls experiments
OPTIONS = """{ resultTypes: ["violations"], rules: {
  "label-content-name-mismatch": { enabled: true }, "target-size": { enabled: true },
} }"""
FOUND = f"""async () => (await axe.run(document, {OPTIONS})).violations.flatMap(({{ id, nodes }}) =>
  nodes.map(({{ html, failureSummary }}) => `${{id}}: ${{html.slice(0, 200)}} ${{failureSummary}}`))
"""


@pytest.fixture(scope="module")
def pages(
    browser: Any, videos: list[LibraryVideo], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Any, str]]:
    folder = tmp_path_factory.mktemp("audit")
    with page_of(browser, FakeLibrary(videos), folder) as (page, server):
        yield page, server.address


def audited(page: Any) -> None:
    """Fail for each finding, in light and in dark colours."""
    script = files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
    if not page.evaluate("'axe' in window"):
        page.evaluate(f"() => {{ {script} }}")  # not as an element: the page's policy forbids it
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(FOUND) == []


@pytest.mark.parametrize("width", [1280, 380])
def test_start_page(pages: tuple[Any, str], width: int) -> None:
    page, address = pages
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{address}/?q=red")  # so that there is a recent search
    page.wait_for_selector(".hit")
    page.goto(address)
    page.wait_for_selector(".film")
    page.wait_for_selector("text=Recent searches")
    audited(page)


@pytest.mark.parametrize("view", ["moments", "videos"])
@pytest.mark.parametrize("width", [1280, 380])
def test_results_and_the_player(pages: tuple[Any, str], view: str, width: int) -> None:
    page, address = pages
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{address}/?q=red&view={view}&where=tag%3Dcooking&where=tag%3Dtravel")
    page.wait_for_selector(".hit")
    page.evaluate("document.querySelector('#options').hidden = false")
    page.evaluate("document.querySelector('#weak').hidden = false")
    page.evaluate("document.querySelector('#weak').textContent = 'Weak matches'")
    audited(page)
    page.locator(".hit button").first.click()
    until(page, "document.querySelector('video')?.readyState > 1")
    page.evaluate("document.querySelector('video').pause()")
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    audited(page)


@pytest.mark.parametrize("width", [1280, 380])
def test_moments_that_follow_and_a_picture(pages: tuple[Any, str], width: int) -> None:
    page, address = pages
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{address}/?q=red&then=blue")
    page.wait_for_selector(".pair")
    assert page.locator("#options").is_visible()  # they are used
    audited(page)
    file = {"name": "a.png", "mimeType": "image/png", "buffer": png()}
    page.set_input_files("#picture-file", files=[file])
    until(page, "location.search.startsWith('?image=')")
    until(page, "document.querySelector('#example img').naturalWidth > 0")
    audited(page)


def test_dialogs(pages: tuple[Any, str]) -> None:
    page, address = pages
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto(f"{address}/?q=red")
    page.wait_for_selector(".hit")
    page.locator("#help-button").click()
    audited(page)
    page.keyboard.press("Escape")
    page.locator("#basket-button").click()
    audited(page)
    page.keyboard.press("Escape")
    page.locator(".keep").first.click()
    page.locator("#basket-button").click()
    page.wait_for_selector(".basket-open")
    audited(page)


def test_messages(pages: tuple[Any, str]) -> None:
    page, address = pages
    page.goto(f"{address}/?q=red&threshold=5")
    page.wait_for_selector(".nothing")
    audited(page)
    page.goto(f"{address}/docs")
    page.wait_for_selector("text=GET /api/search")
    audited(page)


def test_a_fault_is_found(pages: tuple[Any, str]) -> None:
    page, address = pages
    page.goto(f"{address}/?q=red")
    page.wait_for_selector(".hit")
    page.evaluate("document.querySelector('.still').removeAttribute('aria-label')")
    with pytest.raises(AssertionError, match="button-name"):
        audited(page)


def test_without_javascript_a_line_says_so(browser: Any, pages: tuple[Any, str]) -> None:
    text = browser.request.get(pages[1]).text()
    assert "needs JavaScript" in text.partition("<noscript>")[2].partition("</noscript>")[0]
