import asyncio
import csv
import io
import json
import threading
import zipfile
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from serve.fake import FakeLibrary, keeper_of
from starlette.testclient import TestClient

from dreamprvr.core.errors import UserError
from dreamprvr.serve import app as app_module
from dreamprvr.serve.app import create_app
from dreamprvr.serve.keeper import Keeper
from dreamprvr.serve.wire import video_key


def test_the_library(client: TestClient) -> None:
    answer = client.get("/api/library").json()
    columns = answer.pop("columns")
    assert answer == {"state": "ready", "name": "library", "videos": 4, "seconds": 33.0}
    assert columns == [
        {"name": "tag", "values": ["cooking", "travel"]},
        {"name": "year", "values": ["2019", "2021"]}
    ]  # fmt: skip


def test_a_search(client: TestClient, library: FakeLibrary) -> None:
    words = {"q": "red", "k": "2", "threshold": "0.1", "where": ["tag=cooking", "year=2021"]}
    answer = client.get("/api/search", params=words).json()
    assert [hit["video"]["id"] for hit in answer["hits"]] == ["cooking__red"]
    assert library.calls == [
        {"text": "red", "k": 2, "where": {"tag": "cooking", "year": 2021}, "threshold": 0.1}
    ]
    assert client.get("/api/search?q=red").json()["hits"][3]["video"]["there"] is False


@pytest.mark.parametrize("path", ["/api/search", "/api/export.csv", "/api/export.vtt.zip"])
def test_bad_requests_say_why_in_one_line(client: TestClient, path: str) -> None:
    for words in ("", "?q=x&k=0", "?q=x&where=no=1"):
        response = client.get(path + words)
        assert response.status_code == 400
        assert list(response.json()) == ["error"]
        assert "\n" not in response.text


def test_exports(client: TestClient) -> None:
    response = client.get("/api/export.csv?q=red&k=2")
    table = list(csv.DictReader(io.StringIO(response.content.decode("utf-8-sig"))))
    assert [row["title"] for row in table] == ["Red pan", "Red pan", "'=1+1", "'=1+1"]
    assert response.headers["content-disposition"] == 'attachment; filename="moments.csv"'
    response = client.get("/api/export.vtt.zip?q=red&k=2")
    assert len(zipfile.ZipFile(io.BytesIO(response.content)).namelist()) == 2


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/nothing"), ("GET", "/docs"), ("GET", "/openapi.json"), ("GET", "/api"),
     ("GET", "/api/library/"), ("POST", "/api/search"), ("PUT", "/"), ("POST", "/upload"),
     ("DELETE", "/api/library")],
)  # fmt: skip
def test_there_is_nothing_else(client: TestClient, method: str, path: str) -> None:
    response = client.request(method, path)
    assert response.status_code in (404, 405)
    assert list(response.json()) == ["error"]
    assert "default-src 'self'" in response.headers["content-security-policy"]


TRAVERSALS = [
    "../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/etc/passwd",
    "..%252f..%252fetc%252fpasswd",
    "....//....//etc/passwd", "..%5c..%5cetc%5cpasswd", "%c0%ae%c0%ae/etc/passwd",
    "%ef%bc%8e%ef%bc%8e/etc/passwd",
    "/etc/passwd", "%2fetc%2fpasswd", "file:///etc/passwd", "a%00.mp4",
    "..;/etc/passwd", "%uff0e%uff0e/etc",
    video_key("../../etc/passwd"), video_key("/etc/passwd"),
]  # fmt: skip


@pytest.mark.parametrize("path", TRAVERSALS)
@pytest.mark.parametrize(
    "place", ["/static/{}", "/api/videos/{}/media", "/api/videos/{}/thumbnail", "/{}"]
)
def test_no_address_leads_out(client: TestClient, place: str, path: str) -> None:
    # a raw path: the client library would tidy it up
    request = client.build_request("GET", "http://localhost/")
    request.url = httpx.URL("http://localhost/").copy_with(raw_path=place.format(path).encode())
    response = client.send(request)
    assert response.status_code in (400, 404)
    assert list(response.json()) == ["error"]


def test_script_is_only_text(client: TestClient) -> None:
    query = "<script>alert(1)</script>"
    response = client.get("/api/search", params={"q": query})
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.json()["query"] == query


def test_200_searches_at_once(library: FakeLibrary, tmp_path: Path) -> None:
    statuses, errors = asyncio.run(_at_once(library, tmp_path, 200, delay=0.002))
    assert statuses == {200: 200}
    assert errors == []


def test_more_than_the_queue_holds(
    library: FakeLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "WAITING_SEARCHES", 49)
    statuses, errors = asyncio.run(_at_once(library, tmp_path, 200, delay=0.02))
    assert set(statuses) == {200, 503}
    assert statuses[200] >= 50
    assert {json.loads(text)["error"] for text in errors} == {
        "too many searches at once; try again in a second"
    }


async def _at_once(
    library: FakeLibrary, folder: Path, count: int, delay: float
) -> tuple[dict[int, int], list[str]]:
    """Statuses of different searches sent together, and the bodies that are no result."""
    library.delay = delay
    app = create_app(keeper_of(library, folder), folder / "cache")
    inner: Any = app.app
    statuses: dict[int, int] = {}
    errors = []
    async with (
        inner.router.lifespan_context(inner),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app), base_url="http://localhost"
        ) as client,
    ):
        while (await client.get("/api/library")).json()["state"] != "ready":
            await asyncio.sleep(0.01)
        searches = (client.get("/api/search", params={"q": f"query {i}"}) for i in range(count))
        for response in await asyncio.gather(*searches):
            statuses[response.status_code] = statuses.get(response.status_code, 0) + 1
            if response.status_code != 200:
                assert response.headers["retry-after"] == "1"
                errors.append(response.text)
    return statuses, errors


def test_while_another_process_writes(
    library: FakeLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "_RETRY", 0.01)
    free = threading.Event()

    def opener(path: Path) -> FakeLibrary:
        if not free.is_set():
            raise UserError("another process writes this library")
        return library

    keeper = Keeper(tmp_path, opener)
    with TestClient(create_app(keeper, tmp_path / "cache"), base_url="http://localhost") as client:
        assert client.get("/").status_code == 200
        response = client.get("/api/search?q=red")
        assert response.status_code == 503
        assert "retry-after" not in response.headers  # `/api/library` says when
        while not (answer := client.get("/api/library").json()).get("message"):
            assert answer["state"] == "opening"
        assert answer["message"] == "another process writes this library"
        free.set()
        while client.get("/api/library").json()["state"] != "ready":
            pass
        assert client.get("/api/search?q=red").status_code == 200
    assert library.is_closed


def test_a_bug_is_one_line_too(
    client: TestClient, library: FakeLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **named: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(library, "search", fail)
    response = client.get("/api/search?q=red")
    assert response.status_code == 500
    assert list(response.json()) == ["error"]
    assert "secret" not in response.text
    assert "default-src 'self'" in response.headers["content-security-policy"]


def test_a_user_error_of_the_library_is_said(
    client: TestClient, library: FakeLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **named: object) -> None:
        raise UserError("the encoder reads no text")

    monkeypatch.setattr(library, "search", fail)
    response = client.get("/api/search?q=red")
    assert (response.status_code, response.json()) == (400, {"error": "the encoder reads no text"})
