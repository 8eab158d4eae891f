import os
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.testclient import TestClient

from dreamprvr.serve.media import byte_range, file_response
from dreamprvr.serve.replies import Refusal, refused

CONTENT = bytes(range(250)) * 4  # 1000 bytes


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", (0, 0)),
        ("bytes=0-", (0, 999)),
        ("bytes=10-19", (10, 19)),
        ("bytes=990-5000", (990, 999)),
        ("bytes=-1", (999, 999)),
        ("bytes=-5000", (0, 999)),
        ("BYTES = 1 - 2", (1, 2)),
        ("", None),
        ("bytes=", None),
        ("bytes=-", None),
        ("bytes=2-1", None),
        ("bytes=a-b", None),
        ("bytes=0-1,5-6", None),
        ("bytes=--1", None),
        ("bytes=+1-2", None),
        ("bytes=\u0663-", None),
        ("lines=0-1", None),
        ("bytes=" + "9" * 100_000 + "-", None),
    ],
)
def test_ranges(header: str, expected: tuple[int, int] | None) -> None:
    assert byte_range(header, 1000) == expected


@pytest.mark.parametrize("header", ["bytes=1000-", "bytes=5000-6000", "bytes=-0"])
def test_ranges_outside(header: str) -> None:
    with pytest.raises(Refusal) as caught:
        byte_range(header, 1000)
    assert (caught.value.status, caught.value.headers["Content-Range"]) == (416, "bytes */1000")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.mp4"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def client(file: Path) -> TestClient:
    async def send(request: Request) -> Response:
        return file_response(request, file, "video/mp4", {"X-More": "1"})

    app = Starlette(exception_handlers={Refusal: lambda request, error: refused(error)})  # type: ignore[dict-item, arg-type]
    app.add_route("/", send, methods=["GET", "HEAD"])
    return TestClient(app)


def test_the_whole_file(client: TestClient) -> None:
    response = client.get("/")
    assert (response.status_code, response.content) == (200, CONTENT)
    assert response.headers["content-type"] == "video/mp4"
    assert response.headers["accept-ranges"] == "bytes"
    assert response.headers["x-more"] == "1"


@pytest.mark.parametrize(
    ("header", "part"), [("bytes=10-19", slice(10, 20)), ("bytes=-3", slice(997, 1000))]
)
def test_a_part(client: TestClient, header: str, part: slice) -> None:
    response = client.get("/", headers={"range": header})
    assert (response.status_code, response.content) == (206, CONTENT[part])
    assert response.headers["content-range"] == f"bytes {part.start}-{part.stop - 1}/1000"
    assert response.headers["content-length"] == str(part.stop - part.start)


def test_outside(client: TestClient) -> None:
    response = client.get("/", headers={"range": "bytes=1000-"})
    assert (response.status_code, response.headers["content-range"]) == (416, "bytes */1000")
    assert list(response.json()) == ["error"]


def test_a_part_of_another_version_is_the_whole_of_this_one(client: TestClient) -> None:
    tag = client.get("/").headers["etag"]
    for condition, status in ((tag, 206), ('"other"', 200)):
        response = client.get("/", headers={"range": "bytes=0-1", "if-range": condition})
        assert response.status_code == status


def test_head(client: TestClient) -> None:
    response = client.head("/", headers={"range": "bytes=0-9"})
    assert (response.status_code, response.content) == (206, b"")
    assert response.headers["content-length"] == "10"


def test_an_empty_file(client: TestClient, file: Path) -> None:
    file.write_bytes(b"")
    assert (client.get("/").status_code, client.get("/").content) == (200, b"")
    assert client.get("/", headers={"range": "bytes=0-"}).status_code == 416


def test_what_is_no_plain_file(client: TestClient, file: Path) -> None:
    file.unlink()
    assert client.get("/").status_code == 404
    file.mkdir()
    assert client.get("/").status_code == 404
    file.rmdir()
    os.mkfifo(file)  # to open one for reading waits for a writer
    assert client.get("/").status_code == 404


def test_no_file_stays_open(client: TestClient) -> None:
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    for header in ("bytes=0-", "bytes=1000-", "nothing"):
        client.get("/", headers={"range": header})
        client.head("/", headers={"range": header})
    after = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    assert after <= before + 1
