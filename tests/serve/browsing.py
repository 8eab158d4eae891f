"""The page in a real browser: Debian's Chromium, driven by playwright."""

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from serve.fake import FakeLibrary, keeper_of

from dreamprvr.serve.app import create_app

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


VIDEO = "document.querySelector('video')"


@contextmanager
def chromium(folder: Path) -> Iterator[Any]:
    """A browser with an empty profile; skips the test where there is none.

    Args:
        folder: for the profile.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    if CHROMIUM is None:
        pytest.skip("needs chromium: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch_persistent_context(
            str(folder / "profile"), executable_path=CHROMIUM, headless=True, args=FLAGS,
            viewport={"width": 1280, "height": 900}, accept_downloads=True,
        )  # fmt: skip
        browser.set_default_timeout(20_000)
        try:
            yield browser
        finally:
            browser.close()


def until(page: Any, condition: str, seconds: float = 20.0) -> None:
    """Wait for a condition in JavaScript.

    Playwright's own wait hands the page a text to evaluate, which the page's policy forbids.
    """
    deadline = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {condition}"
        page.wait_for_timeout(20)


def search(page: Any, text: str = "red") -> None:
    """Ask, and wait for the results."""
    page.fill("#query", text)
    page.press("#query", "Enter")
    page.wait_for_selector(".hit")


def unfold(page: Any) -> None:
    """Unfold the options of a search."""
    page.locator("#more-options").click()
    page.wait_for_selector("#options:not([hidden])")


class Server:
    """The page on a port of its own, in a thread.

    Args:
        app: the ASGI application.
        port: 0 for any.
    """

    def __init__(self, app: Any, port: int = 0) -> None:
        self.listening = socket.create_server(("127.0.0.1", port))
        self.port = self.listening.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1)
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(
            target=self.server.run, args=([self.listening],), daemon=True
        )
        self.thread.start()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End it; the port is free afterwards."""
        self.server.should_exit = True
        self.thread.join(30)
        self.listening.close()


@contextmanager
def page_of(
    browser: Any, library: FakeLibrary, folder: Path, words: str = "q=red&view=videos"
) -> Iterator[tuple[Any, Server]]:
    """A page with the results of a search, on a server of its own; both are closed afterwards.

    Args:
        folder: holds the library's files and the cache.
        words: parameters of the search.
    """
    page = browser.new_page()
    page.set_viewport_size({"width": 1280, "height": 900})
    with Server(create_app(keeper_of(library, folder / "library"), folder / "cache")) as server:
        try:
            page.goto(f"{server.address}/?{words}")
            page.wait_for_selector(".hit")
            yield page, server
        finally:
            page.close()
