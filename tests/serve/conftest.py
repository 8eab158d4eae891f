"""Films, a library of them, and the page over it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
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


@pytest.fixture
def library(films: Path) -> FakeLibrary:
    return FakeLibrary([
        LibraryVideo("cooking__red", films / "red.mp4", 12.0,
                     {"title": "Red pan", "tag": "cooking", "year": 2021}),
        LibraryVideo("old", films / "old.avi", 6.0,
                     {"title": "=1+1", "tag": "travel", "year": 2019}),
        LibraryVideo("copy", films / "copy.mkv", 6.0, {"title": SCRIPT, "tag": "cooking"}),
        LibraryVideo("gone", films / "gone.mp4", 9.0, {}),
    ])  # fmt: skip


@pytest.fixture
def client(library: FakeLibrary, tmp_path: Path) -> Iterator[TestClient]:
    """The page, opened; its address is http://localhost."""
    app = create_app(keeper_of(library, tmp_path / "library"), tmp_path / "cache")
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        while client.get("/api/library").json()["state"] != "ready":
            pass
        yield client
