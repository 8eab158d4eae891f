import asyncio
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from dreamprvr.serve.security import HEADERS, MAX_BODY, MAX_URL, Guard, host_name, problem


async def answer(request: Request) -> PlainTextResponse:
    return PlainTextResponse("yes")


@pytest.fixture
def client() -> TestClient:
    app = Starlette()
    for path in ("/", "/static/main.js", "/staticky", "/api/search"):
        app.add_route(path, answer, methods=["GET", "POST"])
    app.add_middleware(Guard, hosts=("localhost", "127.0.0.1", "::1"), open_paths=("/", "/static/"))
    return TestClient(app, base_url="http://localhost:8000")


def status(client: TestClient, path: str, method: str = "GET", **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = client.request(method, path, headers=named)
    if response.status_code >= 400:
        assert list(response.json()) == ["error"]
        assert "\n" not in response.text
    assert HEADERS.items() <= dict(Headers(response)).items()
    return response.status_code


class Headers(dict[str, str]):
    """Of a response, with the names as `HEADERS` spells them."""

    def __init__(self, response: Any) -> None:
        super().__init__({name: response.headers.get(name, "") for name in HEADERS})


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "127.0.0.1:1", "[::1]:80", "LOCALHOST"]
)
def test_host_names_of_this_machine_are_accepted(client: TestClient, host: str) -> None:
    assert status(client, "/api/search", host=host) == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "evil.example:8000",
             "127.0.0.1@evil.example", "localhost/evil", "", "[::1",
             "localhost:port", "127.0.0.1.nip.io",
             "0.0.0.0", "localhost?x"],
)  # fmt: skip
def test_foreign_host_names_are_refused(client: TestClient, host: str) -> None:
    assert status(client, "/", host=host) == 400


def test_two_host_headers_are_refused(client: TestClient) -> None:
    response = client.get("/", headers=[("host", "localhost"), ("host", "evil.example")])
    assert response.status_code == 400


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 200),  # a program, not a browser
        ({"origin": "http://localhost:8000"}, 200),
        ({"sec_fetch_site": "same-origin"}, 200),
        ({"sec_fetch_site": "none"}, 200),  # typed into the address bar
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://localhost:9000"}, 403),
        ({"origin": "http://127.0.0.1:8000"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "file://localhost:8000"}, 403),
        ({"origin": ""}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),  # another port of this machine
        ({"origin": "http://localhost:8000", "sec_fetch_site": "cross-site"}, 403),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_origins(client: TestClient, method: str, headers: dict[str, str], expected: int) -> None:
    assert status(client, "/api/search", method, **headers) == expected


def test_pages_may_be_linked_to(client: TestClient) -> None:
    assert status(client, "/", sec_fetch_site="cross-site") == 200
    assert status(client, "/static/main.js", origin="http://evil.example") == 200
    assert status(client, "/", "POST", sec_fetch_site="cross-site") == 403
    assert status(client, "/staticky", sec_fetch_site="cross-site") == 403


def test_long_addresses_and_bodies_are_refused(client: TestClient) -> None:
    assert status(client, "/api/search?q=" + "a" * (MAX_URL - 100)) == 200
    assert status(client, "/api/search?q=" + "a" * MAX_URL) == 413
    assert client.get("/api/search", params={"q": "a" * 60_000}).status_code == 413
    assert client.post("/api/search", content=b"a" * MAX_BODY).status_code == 200
    assert client.post("/api/search", content=b"a" * 10_000_000).status_code == 413
    assert client.post("/api/search", content=iter([b"a"])).status_code == 413  # chunked
    for length in ("-1", "x", "9" * 5000):
        assert status(client, "/api/search", "POST", content_length=length) == 413


def test_one_path_may_take_more() -> None:
    app = Starlette()
    for path in ("/api/search", "/api/other"):
        app.add_route(path, answer, methods=["GET", "POST"])
    app.add_middleware(
        Guard, hosts=("localhost",), open_paths=(), bodies={"/api/search": 5000}
    )  # fmt: skip
    client = TestClient(app, base_url="http://localhost:8000")
    assert client.post("/api/search", content=b"a" * 5000).status_code == 200
    refused = client.post("/api/search", content=b"a" * 5001)
    assert refused.status_code == 413
    assert refused.json()["error"] == "a request may bring at most 5,000 bytes, and says how many"
    assert client.post("/api/other", content=b"a" * 5000).status_code == 413
    assert client.request("GET", "/api/search", content=b"a" * 5000).status_code == 413
    assert client.post("/api/search", content=iter([b"a"])).status_code == 413  # chunked


def test_an_address_of_ten_megabytes() -> None:
    """Longer than the test client sends."""
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("it went through")

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    scope = {
        "type": "http", "method": "GET", "path": "/api/search", "raw_path": b"/api/search",
        "query_string": b"q=" + b"a" * 10_000_000, "headers": [(b"host", b"localhost")],
    }  # fmt: skip
    asyncio.run(Guard(app, ("localhost",), ("/",))(scope, receive, send))
    assert sent[0]["status"] == 413


def test_websockets_are_refused(client: TestClient) -> None:
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/api/search"):
        pass


def test_the_policy_allows_only_files_of_the_page() -> None:
    policy = HEADERS["Content-Security-Policy"].split("; ")
    assert "default-src 'self'" in policy
    assert "unsafe" not in HEADERS["Content-Security-Policy"]


def test_host_names() -> None:
    assert host_name("Name.Example:80") == "name.example"
    assert host_name("[::1]") == "::1"
    assert host_name("a b") == "a b"  # not in any list


def test_a_problem_is_one_line_of_json() -> None:
    response = problem(400, "k is\n  a number", {"X-Reason": "k"})
    assert response.status_code == 400
    assert response.headers["x-reason"] == "k"
    assert bytes(response.body) == b'{"error":"k is a number"}'


TOKEN = "correct-horse"


@pytest.fixture
def locked() -> TestClient:
    app = Starlette()
    for path in ("/", "/docs", "/static/main.js", "/api/search"):
        app.add_route(path, answer, methods=["GET", "POST"])
    guard = Guard(app, ("localhost",), ("/", "/docs", "/static/"), TOKEN)
    return TestClient(guard, base_url="http://localhost:8000", follow_redirects=False)


def test_a_token_in_the_address_becomes_a_cookie(locked: TestClient) -> None:
    assert locked.get("/api/search").status_code == 401
    response = locked.get(f"/?q=a%26b&token={TOKEN}&where=x%3Dy")
    assert (response.status_code, response.headers["location"]) == (303, "/?q=a%26b&where=x%3Dy")
    assert locked.get(f"/docs?token={TOKEN}").headers["location"] == "/docs"
    cookie = response.headers["set-cookie"]
    assert f"={TOKEN}; HttpOnly; Path=/; SameSite=strict" in cookie
    assert cookie.startswith("dreamprvr-")
    assert response.headers["cache-control"] == "no-store"
    assert locked.get("/api/search").status_code == 200  # the client keeps cookies
    assert locked.get("/api/search", headers={"origin": "http://evil.example"}).status_code == 403


def test_pages_hold_nothing_secret(locked: TestClient) -> None:
    """They load for a link of another site, with which no strict cookie is sent."""
    for path in ("/", "/docs", "/static/main.js"):
        assert locked.get(path).status_code == 200
    assert locked.post("/").status_code == 401


@pytest.mark.parametrize(
    ("headers", "words", "expected"),
    [
        ({"authorization": f"Bearer {TOKEN}"}, "", 200),
        ({"authorization": f"bearer  {TOKEN}"}, "", 200),
        ({}, f"?token={TOKEN}", 200),
        ({"authorization": "Bearer other"}, "", 401),
        ({"authorization": f"Basic {TOKEN}"}, "", 401),
        ({"authorization": "Bearer \xff\xfe"}, "", 401),
        ({}, "?token=", 401),
        ({}, "?token=%ff", 401),
        ({}, f"?token={TOKEN}x", 401),
        ({}, f"?TOKEN={TOKEN}", 401),
        ({"cookie": f"token={TOKEN}"}, "", 401),
        ({"cookie": f"dreamprvr-00000000={TOKEN}"}, "", 401),  # of another server
    ],
)
def test_programs_give_the_token(
    locked: TestClient, headers: dict[str, str], words: str, expected: int
) -> None:
    coded = {name: value.encode("latin-1") for name, value in headers.items()}
    response = locked.get(f"/api/search{words}", headers=coded)
    assert response.status_code == expected
    if expected == 401:
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.json()["error"].endswith(
            "open the address that lightning serve has printed"
        )


def test_a_wrong_token_in_the_address_of_a_page(locked: TestClient) -> None:
    response = locked.get("/?token=other")
    assert response.status_code == 401
    assert response.json()["error"].startswith("the token in this address is not that")
    assert "set-cookie" not in response.headers


def test_each_token_has_a_cookie_of_its_own() -> None:
    names = {Guard(Starlette(), (), (), token).cookie for token in ("a" * 8, "b" * 8)}
    assert len(names) == 2


def test_names_in_a_problem_stay_as_they_are() -> None:
    name = "a\u00a0b\u3000c 👨\u200d👩\u200d👧"
    response = problem(404, f"{name}\udce9\u2028is gone")
    assert bytes(response.body).decode() == f'{{"error":"{name}\\\\udce9 is gone"}}'
