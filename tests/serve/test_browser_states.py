"""What the page shows when there is nothing to show."""

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serve.browsing import Server, until
from serve.fake import FakeLibrary, keeper_of

from dreamprvr.core.errors import UserError
from dreamprvr.search.manifest import WANTED
from dreamprvr.serve import app as app_module
from dreamprvr.serve.app import create_app
from dreamprvr.serve.keeper import Keeper

pytestmark = pytest.mark.slow


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    page = browser.new_page()
    yield page
    page.close()


def test_an_empty_library(page: Any, tmp_path: Path) -> None:
    with Server(
        create_app(keeper_of(FakeLibrary([]), tmp_path / "films"), tmp_path / "cache")
    ) as server:
        page.goto(server.address)
        page.wait_for_selector(".empty")
        assert "lightning index features.hdf5 -o films" in page.locator(".notice").inner_text()
        page.fill("#query", "red")
        page.press("#query", "Enter")
        until(page, "document.title.startsWith('red') && document.querySelector('.empty') !== null")


def test_while_it_is_indexed(
    page: Any, library: FakeLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "_RETRY", 0.05)
    free = threading.Event()

    def opener(path: Path) -> FakeLibrary:
        if not free.is_set():
            raise UserError("another process writes this library")
        return library

    def write(done: int) -> None:
        progress = {"done": done, "total": 40, "video": "a__b", "pid": os.getpid()}
        (tmp_path / "progress.json").write_text(json.dumps(progress))

    write(12)
    with Server(create_app(Keeper(tmp_path, opener), tmp_path / "cache")) as server:
        page.goto(f"{server.address}/?q=red")  # a link is followed once the library is free
        page.wait_for_selector("text=Indexing 12 of 40")
        assert page.locator("progress").evaluate("bar => bar.position") == pytest.approx(0.3)
        write(39)
        page.wait_for_selector("text=Indexing 39 of 40")
        (tmp_path / "progress.json").unlink()
        page.wait_for_selector("text=another process writes this library")
        free.set()
        page.wait_for_selector(".hit")


def test_while_it_is_indexed_again(
    page: Any, library: FakeLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results stay, a line says why searching waits, and a search waits for its answer."""
    monkeypatch.setattr(app_module, "_RETRY", 0.05)
    with Server(create_app(keeper_of(library, tmp_path), tmp_path / "cache")) as server:
        page.goto(f"{server.address}/?q=red")
        page.wait_for_selector(".hit")
        progress = {"done": 3, "total": 40, "video": "a__b", "pid": os.getpid()}
        (tmp_path / "progress.json").write_text(json.dumps(progress))
        (tmp_path / WANTED).write_text(str(os.getpid()))
        library.wanted = True
        page.wait_for_selector("#writing:not([hidden])")
        line = page.locator("#writing").inner_text()
        assert line == "Indexing 3 of 40: searches wait until it is done"
        assert page.locator(".hit").count() == len(library.held)
        page.fill("#query", "blue")
        page.press("#query", "Enter")
        page.wait_for_selector(".indexing >> text=Indexing 3 of 40")
        library.wanted = False
        for name in ("progress.json", WANTED):
            (tmp_path / name).unlink()
        page.wait_for_selector(".hit")
        assert page.title() == "blue · DreamPRVR"
        page.wait_for_selector("#writing", state="hidden")


def test_the_server_goes_and_comes_back(page: Any, library: FakeLibrary, tmp_path: Path) -> None:
    app = create_app(keeper_of(library, tmp_path / "library"), tmp_path / "cache")
    with Server(app) as server:
        page.goto(server.address)
        page.wait_for_selector(".welcome")
    page.fill("#query", "red")
    page.press("#query", "Enter")
    page.wait_for_selector("#offline:not([hidden])")
    assert "lightning serve" in page.locator("#offline").inner_text()
    app = create_app(keeper_of(library, tmp_path / "library"), tmp_path / "cache")
    with Server(app, server.port):
        page.wait_for_selector(".hit")
        assert page.locator("#offline").is_hidden()


def test_a_search_that_fails(
    page: Any, library: FakeLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = library.search

    def fail(*arguments: Any, **named: Any) -> None:
        raise UserError("the encoder reads no text")

    monkeypatch.setattr(library, "search", fail)
    with Server(create_app(keeper_of(library, tmp_path / "library"), tmp_path / "cache")) as server:
        page.goto(f"{server.address}/?q=red")
        page.wait_for_selector(".wrong")
        assert "the encoder reads no text" in page.locator(".notice").inner_text()
        monkeypatch.setattr(library, "search", real)
        page.get_by_role("button", name="Try again").click()
        page.wait_for_selector(".hit")


def test_a_search_that_takes_long(page: Any, library: FakeLibrary, tmp_path: Path) -> None:
    library.delay = 1.0
    with Server(create_app(keeper_of(library, tmp_path / "library"), tmp_path / "cache")) as server:
        page.goto(f"{server.address}/?q=red")
        page.wait_for_selector(".bones")
        assert page.locator("#results").get_attribute("aria-busy") == "true"
        page.fill("#query", "blue")  # a second question overtakes the first
        page.press("#query", "Enter")
        page.wait_for_selector(".hit")
        assert page.title() == "blue · DreamPRVR"
        assert page.locator("#results").get_attribute("aria-busy") is None
