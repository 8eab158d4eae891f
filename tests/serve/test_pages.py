import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import dreamprvr.serve
from dreamprvr.serve.pages import Pages
from dreamprvr.serve.replies import Refusal

STATIC = Path(dreamprvr.serve.__file__).parent / "static"
FILES = sorted(path.name for path in STATIC.iterdir())


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_served(client: TestClient, name: str) -> None:
    response = client.get(f"/static/{name}")
    assert response.content == (STATIC / name).read_bytes()
    kinds = {"css": "text/css", "js": "text/javascript", "svg": "image/svg", "html": "text/html"}
    assert response.headers["content-type"].startswith(kinds[name.rpartition(".")[2]])


def test_the_page(client: TestClient) -> None:
    assert client.get("/").text.startswith("<!doctype html>")
    assert client.get("/?q=x&v=abc").status_code == 200


@pytest.mark.parametrize("name", ["", "..", "../app.py", "nothing.js", "/etc/passwd", "MAIN.JS"])
def test_no_other_name(name: str) -> None:
    with pytest.raises(Refusal, match="nothing at this address"):
        Pages().get(name)


@pytest.mark.parametrize("name", FILES)
def test_nothing_comes_from_elsewhere(name: str) -> None:
    text = (STATIC / name).read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(
        r"https?://|//[a-z]+\.|@import|url\(|innerHTML|outerHTML|eval\(|insertAdjacent", text
    )
    if name.endswith(".html"):
        assert not re.search(r"\son\w+=|style=|<style|<script(?![^>]*src=)", text)


def test_what_is_imported_exists() -> None:
    texts = {name: (STATIC / name).read_text(encoding="utf-8") for name in FILES}
    named = {
        part for text in texts.values() for part in re.findall(r'"(?:\./|/static/)([\w.]+)"', text)
    }
    assert named <= set(FILES)
    assert set(FILES) - named == {"index.html"}  # nothing lies about unused
