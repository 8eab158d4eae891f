import asyncio
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from serve.browsing import Server
from serve.fake import FakeLibrary, keeper_of
from serve.films import png
from starlette.testclient import TestClient

from dreamprvr.search.results import LibraryVideo, SearchResult
from dreamprvr.serve import routes as routes_module
from dreamprvr.serve.app import create_app
from dreamprvr.serve.schema import video_key
from dreamprvr.serve.sending import Leaving

SCOPE = {"type": "http", "method": "GET", "path": "/", "headers": []}


class Slow(FakeLibrary):
    """Its searches wait until they may go on."""

    def __init__(self, videos: list[LibraryVideo]) -> None:
        super().__init__(videos)
        self.gate = threading.Event()

    def search(self, text: str | None, **options: Any) -> SearchResult:
        assert self.gate.wait(60)
        return super().search(text, **options)


def left(server: Server, path: str, picture: bytes = b"") -> None:
    """Send a request, with a picture or without one, and leave without an answer."""
    method = "POST" if picture else "GET"
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(picture)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(head.encode() + picture)
        time.sleep(0.005)


def asked(server: Server, path: str) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        words = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        connection.sendall(words.encode())
        connection.settimeout(60)
        answer = b""
        while part := connection.recv(65536):
            answer += part
        return answer


def test_searches_of_clients_that_have_left_are_never_begun(
    videos: list[LibraryVideo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes_module, "WAITING_SEARCHES", 20)
    library = Slow(videos)
    with Server(create_app(keeper_of(library, tmp_path / "library"), tmp_path / "cache")) as server:
        while b"ready" not in asked(server, "/api/library"):
            pass
        for number in range(60):  # more than may wait
            left(server, f"/api/search?q=left{number}")
            left(server, f"/api/search?name=left{number}", png())
        answers: list[bytes] = []
        waiting = threading.Thread(target=lambda: answers.append(asked(server, "/api/search?q=x")))
        waiting.start()
        time.sleep(0.3)  # it stands behind them
        library.gate.set()
        waiting.join()
        assert answers[0].startswith(b"HTTP/1.1 200")
    # at most the one that had begun, and the first one, which may be taken from the queue with it
    assert len(library.calls) <= 3
    assert library.calls[-1]["text"] == "x"


def test_questions_about_videos_of_clients_that_have_left_are_never_asked(
    library: FakeLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, begun = threading.Event(), []

    def probe(source: Any) -> None:
        begun.append(source)
        assert gate.wait(60)

    monkeypatch.setattr(routes_module, "probe", probe)
    with Server(create_app(keeper_of(library, tmp_path / "library"), tmp_path / "cache")) as server:
        while b"ready" not in asked(server, "/api/library"):
            pass
        for _ in range(30):
            left(server, f"/api/videos/{video_key('old')}/media")
        time.sleep(0.3)
        gate.set()
        time.sleep(0.3)
    assert len(begun) <= 2  # one on each thread


@pytest.mark.parametrize(
    ("pause", "expected"), [(0.0, []), (0.01, ["cancelled"]), (60.0, ["done"])]
)
def test_an_application_is_cancelled_with_its_client_only(
    pause: float, expected: list[str]
) -> None:
    """A client that has hung up already begins nothing."""
    events: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            assert (await receive())["type"] == "http.request"
            await asyncio.sleep(0.05)
            events.append("done")
        except asyncio.CancelledError:
            events.append("cancelled")
            raise

    messages = [{"type": "http.request"}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        if len(messages) == 1:
            await asyncio.sleep(pause)
        return messages.pop(0)

    asyncio.run(Leaving(app)(SCOPE, receive, None))  # type: ignore[arg-type]
    assert events == expected


def test_an_error_of_the_application_is_passed_on() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError

    async def receive() -> Any:
        await asyncio.sleep(60)

    with pytest.raises(ZeroDivisionError):
        asyncio.run(Leaving(app)(SCOPE, receive, None))  # type: ignore[arg-type]


def test_the_end_of_the_server_reaches_the_application() -> None:
    events: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            events.append("ended")

    async def receive() -> Any:
        await asyncio.sleep(60)

    async def scene() -> None:
        task = asyncio.create_task(Leaving(app)(SCOPE, receive, None))  # type: ignore[arg-type]
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)

    asyncio.run(scene())
    assert events == ["ended"]


@pytest.mark.parametrize("path", ["/api/library", "/api/search?q=red", "/openapi.json"])
def test_json_that_has_not_changed_is_not_sent(client: TestClient, path: str) -> None:
    first = client.get(path)
    assert first.headers["cache-control"] == "private, no-cache"
    again = client.get(path, headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert "default-src 'self'" in again.headers["content-security-policy"]
    other = client.get(path, headers={"if-none-match": '"x"'})
    assert other.content == first.content


def test_json_that_has_changed_is_sent(client: TestClient, library: FakeLibrary) -> None:
    first = client.get("/api/search?q=red")
    del library.held[1:]
    again = client.get("/api/search?q=blue", headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 200


def test_errors_have_no_etag(client: TestClient) -> None:
    assert "etag" not in client.get("/api/search").headers


def test_texts_are_compressed_and_media_are_not(client: TestClient) -> None:
    for path in ("/", "/static/style.css", "/api/search?q=red", "/openapi.json"):
        assert client.get(path).headers.get("content-encoding") == "gzip", path
        plain = client.get(path, headers={"accept-encoding": "identity"})
        assert "content-encoding" not in plain.headers
        assert plain.headers["vary"] == "Accept-Encoding"
    for path in (
        "videos/KEY/media", "videos/KEY/thumbnail", "videos/KEY/pieces/0.mp4",
        "videos/KEY/clip.mp4?start=0&end=1", "export.vtt.zip?q=red", "stills.avif?key=KEY",
    ):  # fmt: skip
        answer = client.get(f"/api/{path.replace('KEY', video_key('cooking__red'))}")
        assert answer.status_code == 200
        assert "content-encoding" not in answer.headers, path
