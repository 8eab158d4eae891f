"""Films, a library of them, and the page over it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from serve.browsing import Server, chromium, page_of
from serve.fake import FakeLibrary, keeper_of
from serve.films import film
from starlette.testclient import TestClient

from dreamprvr.search.results import LibraryVideo
from dreamprvr.serve.app import create_app

SCRIPT = "<script>document.title='owned'</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """red.mp4 plays in browsers, old.avi does not, copy.mkv has only a strange container."""
    folder = tmp_path_factory.mktemp("films")
    film(folder / "red.mp4", 12)
    film(folder / "old.avi", 6, "mpeg4", container="avi", sound=False)
    film(folder / "copy.mkv", 6)
    return folder


@pytest.fixture(scope="session")
def videos(films: Path) -> list[LibraryVideo]:
    return [
        LibraryVideo("cooking__red", films / "red.mp4", 12.0,
                     {"title": "Red pan", "tag": "cooking", "year": 2021}),
        LibraryVideo("old", films / "old.avi", 6.0,
                     {"title": "=1+1", "tag": "travel", "year": 2019}),
        LibraryVideo("copy", films / "copy.mkv", 6.0, {"title": SCRIPT, "tag": "cooking"}),
        LibraryVideo("gone", films / "gone.mp4", 9.0, {}),
    ]  # fmt: skip


@pytest.fixture
def library(videos: list[LibraryVideo]) -> FakeLibrary:
    return FakeLibrary(videos)


@pytest.fixture
def client(library: FakeLibrary, tmp_path: Path) -> Iterator[TestClient]:
    """The page, opened; its address is http://localhost."""
    app = create_app(keeper_of(library, tmp_path / "library"), tmp_path / "cache")
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        while client.get("/api/library").json()["state"] != "ready":
            pass
        yield client


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium; not for the session, as its driver occupies the thread's event loop."""
    with chromium(tmp_path_factory.mktemp("browser")) as context:
        yield context


@pytest.fixture
def page(browser: Any, library: FakeLibrary, tmp_path: Path) -> Iterator[Any]:
    """The results of "red"."""
    with page_of(browser, library, tmp_path) as (page, _):
        yield page


@pytest.fixture
def watched_page(browser: Any, library: FakeLibrary, tmp_path: Path) -> Iterator[Any]:
    """The page before a search that lists videos; see `watched`."""
    with watched(browser, library, tmp_path, "?view=videos") as page:
        yield page


@pytest.fixture
def home_page(browser: Any, library: FakeLibrary, tmp_path: Path) -> Iterator[Any]:
    """The start page; see `watched`."""
    with watched(browser, library, tmp_path, "") as page:
        yield page


@contextmanager
def watched(browser: Any, library: FakeLibrary, tmp_path: Path, words: str) -> Iterator[Any]:
    """The page before a search; an error in it, or a request to another host, fails the test."""
    page = browser.new_page()
    problems: list[str] = []
    foreign: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda line: line.type == "error" and problems.append(line.text))
    page.on("dialog", lambda dialog: (problems.append(dialog.message), dialog.dismiss()))
    app = create_app(keeper_of(library, tmp_path / "library"), tmp_path / "cache")
    with Server(app) as server:
        home = server.address
        page.on("request", lambda request: home in request.url or foreign.append(request.url))
        page.goto(f"{home}/{words}")
        page.wait_for_selector(".film")
        yield page
        page.close()
    assert problems == []
    assert foreign == []
