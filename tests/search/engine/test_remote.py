from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse
from search.engine.cases import DIM, LAYOUT, engine, query, record

from dreamprvr.core.errors import UserError
from dreamprvr.search.engine import remote as remote_engine
from dreamprvr.search.engine.remote import RemoteEngine, connect

# Qdrant's engine in memory keeps no payload index, and says so
pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")


@pytest.fixture
def remote(tmp_path: Path) -> RemoteEngine:
    made = engine("remote", tmp_path)
    assert isinstance(made, RemoteEngine)
    return made


def test_a_video_that_is_too_long_for_a_server(
    remote: RemoteEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = [record(number) for number in range(3)]
    longest = max(sum(map(len, video.tokens.values())) for video in videos)
    monkeypatch.setattr(remote_engine, "LARGEST", longest * (DIM + 2))
    with pytest.raises(UserError, match=rf"{longest} tokens, .* at most {longest - 1} of this"):
        remote.upsert(videos)
    assert remote.count() == 0
    monkeypatch.setattr(remote_engine, "LARGEST", longest * (DIM + 2) + 1)
    remote.upsert(videos)
    assert remote.count() == 3


def test_many_videos_go_in_several_requests(
    remote: RemoteEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    send = remote.client.upsert

    def upsert(name: str, points: Any, **options: Any) -> Any:
        sizes.append(len(points))
        return send(name, points, **options)

    monkeypatch.setattr(remote.client, "upsert", upsert)
    monkeypatch.setattr(remote_engine, "BATCH", 4)
    remote.upsert([record(number) for number in range(10)])
    assert sizes == [4, 4, 2]
    assert remote.count() == 10


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ResponseHandlingException(OSError("gone")), "does not answer .gone.: is it running"),
        (UnexpectedResponse(403, "Forbidden", b"no\n key", None), "refused .403.: no key"),  # type: ignore[arg-type]
    ],
)
def test_errors_of_a_server_are_one_line(
    remote: RemoteEngine, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    for name in ("query_points", "upsert", "retrieve", "count", "delete", "overwrite_payload",
                 "scroll"):  # fmt: skip
        monkeypatch.setattr(remote.client, name, fail)
    for ask in (
        lambda: remote.search(query()), lambda: remote.upsert([record(1)]), remote.count,
        lambda: remote.fetch(["a"]), lambda: remote.delete(["a"]),
        lambda: list(remote.payloads()), lambda: remote.set_payloads({"a": {}}),
    ):  # fmt: skip
        with pytest.raises(UserError, match=message) as caught:
            ask()
        assert "\n" not in str(caught.value)


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(remote_engine, "QdrantClient", lambda **options: given.update(options))
    connect("https://search.example.org")
    assert (given["url"], given["api_key"]) == ("https://search.example.org", None)
    monkeypatch.setenv("QDRANT_API_KEY", "key")
    connect("https://search.example.org")
    assert given["api_key"] == "key"


def test_a_server_of_another_kind_is_refused() -> None:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"<html")

        def log_message(self, *words: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        client = connect(f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(UserError, match=r"^the program at the engine's address is not a"):
            RemoteEngine(client, "videos", lambda: LAYOUT)
        client.close()
        server.shutdown()


def test_an_address_that_the_client_cannot_parse_is_refused() -> None:
    with pytest.raises(UserError, match="is no address of a Qdrant server"):
        connect("http://a b")
