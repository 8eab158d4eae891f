import asyncio
import csv
import hashlib
import io
import json
import re
import threading
import zipfile
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from serve.fake import FakeLibrary, keeper_of
from serve.films import png
from starlette.testclient import TestClient

from dreamprvr.core.errors import UserError
from dreamprvr.serve import app as app_module
from dreamprvr.serve import pictures
from dreamprvr.serve import routes as routes_module
from dreamprvr.serve.app import create_app
from dreamprvr.serve.joining import joined
from dreamprvr.serve.keeper import Keeper
from dreamprvr.serve.schema import video_key

STATIC = Path(app_module.__file__).parent / "static"
FILES = sorted(path.name for path in STATIC.iterdir())


def test_the_library(client: TestClient) -> None:
    answer = client.get("/api/library").json()
    columns = answer.pop("columns")
    ranges = answer.pop("ranges")
    assert answer == {
        "state": "ready", "name": "library", "videos": 4, "seconds": 33.0, "version": 0,
    }  # fmt: skip
    assert ranges == [
        {"name": "length", "kind": "number", "least": "6", "most": "12"},
        {"name": "year", "kind": "number", "least": "2019", "most": "2021"},
    ]  # fmt: skip
    assert columns == [
        {"name": "tag", "values": ["cooking", "travel"]},
        {"name": "year", "values": ["2019", "2021"]}
    ]  # fmt: skip


def test_a_search(client: TestClient, library: FakeLibrary) -> None:
    words = {"q": "red", "k": "2", "threshold": "0.1", "where": ["tag=cooking", "year=2021"]}
    answer = client.get("/api/search", params=words).json()
    assert [hit["video"]["id"] for hit in answer["hits"]] == ["cooking__red"]
    wanted = {
        "text": "red", "k": 2, "where": {"tag": ["cooking"], "year": ["2021"]}, "threshold": 0.1
    }  # fmt: skip
    assert [call.items() >= wanted.items() for call in library.calls] == [True]
    assert client.get("/api/search?q=red").json()["hits"][3]["video"]["there"] is False


@pytest.mark.parametrize("path", ["/api/search", "/api/export.csv", "/api/export.vtt.zip"])
def test_bad_requests_say_why_in_one_line(client: TestClient, path: str) -> None:
    lines = {
        "": "give one of q, like and image",
        "?q=+%20": "q: String should have at least 1 character",
        "?q=x&k=0": "k: Input should be greater than or equal to 1",
        "?q=x&threshold=nan": "threshold: Input should be a finite number",
        "?q=x&where=tag": "where.0: String should match pattern '^[^=<>]+[=<>]'",
    }
    for words, line in lines.items():
        response = client.get(path + words)
        assert (response.status_code, response.json()) == (400, {"error": line})
    assert client.get(path + "?q=x" + "&where=tag=a" * 65).status_code == 400


def test_the_interface_is_described(client: TestClient) -> None:
    described = client.get("/openapi.json").json()
    search = described["paths"]["/api/search"]["get"]
    assert [parameter["name"] for parameter in search["parameters"]] == [
        "q", "like", "image", "without", "then", "name", "k", "skip", "moments", "subtitles",
        "threshold", "where",
    ]  # fmt: skip
    answers = {status: answer["content"] for status, answer in search["responses"].items()}
    assert set(answers) == {"200", "4XX", "5XX"}
    assert answers["200"]["application/json"]["schema"]["$ref"].endswith("/SearchAnswer")
    assert answers["4XX"]["application/json"]["schema"]["$ref"].endswith("/Problem")
    for path, methods in described["paths"].items():
        for method in methods.values():
            assert method["description"], path
    hit = client.get("/api/search?q=red").json()["hits"][0]
    assert set(described["components"]["schemas"]["HitAnswer"]["properties"]) == set(hit)


def test_the_files_of_the_page(client: TestClient) -> None:
    kinds = {"css": "text/css", "js": "text/javascript", "svg": "image/svg", "html": "text/html"}
    for name in FILES:
        response = client.get(f"/static/{name}")
        if name.endswith(".js"):
            assert response.text == joined(STATIC, name.removesuffix(".js"))
        else:
            assert response.content == (STATIC / name).read_bytes()
        assert response.headers["content-type"].startswith(kinds[name.rpartition(".")[2]])
        assert response.headers["cache-control"] == "private, no-cache"
        again = client.get(f"/static/{name}", headers={"if-none-match": response.headers["etag"]})
        assert again.status_code == 304
    assert client.get("/").content == (STATIC / "index.html").read_bytes()
    assert client.get("/docs").content == (STATIC / "docs.html").read_bytes()
    assert client.get("/?q=x&v=abc").status_code == 200
    for name in ("", "nothing.js", "MAIN.JS"):
        assert client.get(f"/static/{name}").status_code == 404


@pytest.mark.parametrize("name", FILES)
def test_no_file_of_the_page_loads_from_another_host(name: str) -> None:
    text = (STATIC / name).read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(
        r"https?://|//[a-z]+\.|@import|url\(|innerHTML|outerHTML|eval\(|insertAdjacent", text
    )
    if name.endswith(".html"):
        assert not re.search(r"\son\w+=|style=|<style|<script(?![^>]*src=)", text)


def test_every_imported_file_exists_and_every_file_is_used() -> None:
    texts = {name: (STATIC / name).read_text(encoding="utf-8") for name in FILES}
    named = {
        part for text in texts.values() for part in re.findall(r'"(?:\./|/static/)([\w.]+)"', text)
    }
    assert named <= set(FILES)
    assert set(FILES) - named == {"index.html", "docs.html"}  # no file is unused


def test_exports(client: TestClient) -> None:
    response = client.get("/api/export.csv?q=red&k=2")
    table = list(csv.DictReader(io.StringIO(response.content.decode("utf-8-sig"))))
    assert [row["title"] for row in table] == ["Red pan", "Red pan", "'=1+1", "'=1+1"]
    assert response.headers["content-disposition"] == "attachment; filename*=utf-8''moments.csv"
    response = client.get("/api/export.vtt.zip?q=red&k=2")
    assert len(zipfile.ZipFile(io.BytesIO(response.content)).namelist()) == 2


def test_other_addresses_and_methods_are_refused(client: TestClient) -> None:
    for line in (
        "GET /nothing", "GET /redoc", "GET /docs/", "GET /api", "GET /api/library/",
        "PUT /api/search", "PUT /", "POST /upload", "DELETE /api/library", "POST /static/main.js",
    ):  # fmt: skip
        response = client.request(*line.split())
        assert response.status_code in (404, 405), line
        assert list(response.json()) == ["error"]
        assert "default-src 'self'" in response.headers["content-security-policy"]
        assert response.headers["cache-control"] == "no-store"


TRAVERSALS = [
    "../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/etc/passwd",
    "..%252f..%252fetc%252fpasswd",
    "....//....//etc/passwd", "..%5c..%5cetc%5cpasswd", "%c0%ae%c0%ae/etc/passwd",
    "%ef%bc%8e%ef%bc%8e/etc/passwd",
    "/etc/passwd", "%2fetc%2fpasswd", "file:///etc/passwd", "a%00.mp4",
    "..;/etc/passwd", "%uff0e%uff0e/etc",
    video_key("../../etc/passwd"), video_key("/etc/passwd"),
]  # fmt: skip


@pytest.mark.parametrize(
    "place", ["/static/{}", "/api/videos/{}/media", "/api/videos/{}/thumbnail", "/{}"]
)
def test_no_address_leads_to_files_outside(client: TestClient, place: str) -> None:
    for path in TRAVERSALS:  # raw paths: the client library would tidy them up
        request = client.build_request("GET", "http://localhost/")
        request.url = httpx.URL("http://localhost/").copy_with(raw_path=place.format(path).encode())
        response = client.send(request)
        assert response.status_code in (400, 404), path
        assert list(response.json()) == ["error"]


def test_a_script_in_a_query_is_only_text(client: TestClient) -> None:
    query = "<script>alert(1)</script>"
    response = client.get("/api/search", params={"q": query})
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.json()["query"] == query


def test_200_searches_at_once(library: FakeLibrary, tmp_path: Path) -> None:
    statuses, errors = asyncio.run(_at_once(library, tmp_path, 200, delay=0.002))
    assert statuses == {200: 200}
    assert errors == []


def test_searches_above_the_queues_length_are_refused(
    library: FakeLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes_module, "WAITING_SEARCHES", 49)
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
    inner: Any = app
    while not hasattr(inner, "router"):
        inner = inner.app
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


def test_a_search_waits_while_another_process_writes(
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


def test_a_bug_is_answered_in_one_line(
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


def test_a_user_error_of_the_library_is_answered_in_its_words(
    client: TestClient, library: FakeLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **named: object) -> None:
        raise UserError("the encoder reads no text")

    monkeypatch.setattr(library, "search", fail)
    response = client.get("/api/search?q=red")
    assert (response.status_code, response.json()) == (400, {"error": "the encoder reads no text"})


def test_a_search_by_a_picture(client: TestClient, library: FakeLibrary, tmp_path: Path) -> None:
    content = png()
    answer = client.post("/api/search?k=2&where=tag=cooking&then=a+cat", content=content).json()
    assert [hit["video"]["id"] for hit in answer["hits"]] == ["cooking__red", "copy"]
    assert answer["query"] == "like a picture, then a cat"
    call = library.calls[-1]
    assert (call["image"], call["text"], call["then"]) == (content, None, "a cat")
    again = client.get("/api/search", params={"image": answer["image"]}).json()
    assert len(again["hits"]) == 4
    assert library.calls[-1]["image"] == content
    shown = client.get(f"/api/pictures/{answer['image']}")
    assert (shown.headers["content-type"], shown.content[:2]) == ("image/jpeg", b"\xff\xd8")
    assert not (tmp_path / "cache").exists()  # nothing is written anywhere


def test_what_is_no_picture_is_refused_in_one_line(client: TestClient) -> None:
    name = hashlib.sha256(b"<svg/>").hexdigest()[:40]
    for content, line in (
        (b"", "send the picture as the body of the request"),
        (b"<svg/>", "the picture cannot be read as a picture: it is in none of the formats BMP, "),
        (png()[:-30], "the picture cannot be read as a picture: "),
    ):
        response = client.post("/api/search", content=content)
        assert response.status_code == 400
        assert response.json()["error"].startswith(line)
        assert "\n" not in response.json()["error"]
    for path in (f"/api/search?image={name}", f"/api/pictures/{name}"):  # it is not kept
        assert client.get(path).status_code == 404
    assert client.post("/api/search?k=0", content=png()).status_code == 400
    large = client.post("/api/search", content=bytes(pictures.LARGEST + 1))
    assert large.status_code == 413
    assert "at most 20,000,000 bytes" in large.json()["error"]


def test_pictures_are_described(client: TestClient) -> None:
    described = client.get("/openapi.json").json()["paths"]["/api/search"]["post"]
    body = described["requestBody"]
    assert body["content"]["image/*"]["schema"] == {"type": "string", "format": "binary"}
    names = {parameter["name"] for parameter in described["parameters"]}
    assert {"k", "where", "then", "without"} <= names
    assert not {"q", "like", "image"} & names
