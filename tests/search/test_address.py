"""The note of a running server, and what it may lead to."""

import json
import os
import platform
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from dreamprvr.core.errors import UserError
from dreamprvr.search import address
from dreamprvr.search.address import NOTE, announced, ask_server, new_token

CALL = {"text": "a dög \udcff", "k": 3, "where": []}


@contextmanager
def server(status: int = 200, body: bytes = b"answer") -> Iterator[tuple[int, list[Any]]]:
    """A server that gives one answer, and notes what it is asked."""
    asked: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            call = json.loads(parse_qs(parts.query)["call"][0])
            asked.append((parts.path, call, self.headers["Authorization"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield listening.server_port, asked
        listening.shutdown()
        thread.join()


def test_a_running_server_answers(tmp_path: Path) -> None:
    token = new_token()
    with server() as (port, asked), announced(tmp_path, "127.0.0.1", port, token):
        assert (tmp_path / NOTE).stat().st_mode & 0o777 == 0o600
        assert ask_server(tmp_path, CALL) == "answer"
    assert asked == [("/api/answer", CALL, f"Bearer {token}")]
    assert (tmp_path / NOTE).read_bytes() == b""
    assert ask_server(tmp_path, CALL) is None


def test_a_server_for_all_addresses_is_asked_on_this_machine(tmp_path: Path) -> None:
    with server() as (port, _), announced(tmp_path, "0.0.0.0", port, "t"):
        assert ask_server(tmp_path, CALL) == "answer"


def test_mistakes_and_refusals(tmp_path: Path) -> None:
    body = json.dumps({"error": "k is 0; it must be at least 1"}).encode()
    with (
        server(400, body) as (port, _),
        announced(tmp_path, "127.0.0.1", port, "t"),
        pytest.raises(UserError, match="k is 0; it must be at least 1"),
    ):
        ask_server(tmp_path, CALL)
    for status, body in ((503, b"{}"), (404, b"{}"), (400, b"no JSON"), (200, b"\xff")):
        with server(status, body) as (port, _), announced(tmp_path, "127.0.0.1", port, "t"):
            assert ask_server(tmp_path, CALL) is None


def test_a_closed_port(tmp_path: Path) -> None:
    with announced(tmp_path, "127.0.0.1", 1, "t"):
        assert ask_server(tmp_path, CALL) is None


@pytest.mark.parametrize("host", ["192.0.2.1", "example.com"])
def test_a_server_that_this_machine_cannot_reach_leaves_no_note(tmp_path: Path, host: str) -> None:
    with announced(tmp_path, host, 1, "t"):
        assert not (tmp_path / NOTE).exists()


def test_the_note_of_a_killed_server_is_not_followed(tmp_path: Path) -> None:
    with server() as (port, asked):
        with announced(tmp_path, "127.0.0.1", port, "t"):
            content = (tmp_path / NOTE).read_bytes()
        (tmp_path / NOTE).write_bytes(content)
        (tmp_path / NOTE).chmod(0o600)
        assert ask_server(tmp_path, CALL) is None
    assert asked == []


@pytest.mark.parametrize(
    "change",
    [
        {"host": "192.0.2.1"}, {"host": ["127.0.0.1"]}, {"port": 0}, {"port": 70000},
        {"port": "x"}, {"token": "a\r\nHost: b"}, {"machine": "another"}, {"host": None},
    ],
)  # fmt: skip
def test_odd_notes_are_not_followed(tmp_path: Path, change: dict[str, Any]) -> None:
    with server() as (port, asked), announced(tmp_path, "127.0.0.1", port, "t"):
        note = {"host": "127.0.0.1", "port": port, "token": "t", "machine": platform.node()}
        (tmp_path / NOTE).write_text(json.dumps(note))
        assert ask_server(tmp_path, CALL) == "answer"
        (tmp_path / NOTE).write_text(json.dumps({**note, **change}))
        assert ask_server(tmp_path, CALL) is None
        for text in ("", "{", "[]", "null", "x" * 2000):
            (tmp_path / NOTE).write_text(text)
            assert ask_server(tmp_path, CALL) is None
    assert len(asked) == 1


def test_only_the_users_own_note_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with server() as (port, asked), announced(tmp_path, "127.0.0.1", port, "t"):
        (tmp_path / NOTE).chmod(0o644)
        assert ask_server(tmp_path, CALL) is None
        (tmp_path / NOTE).chmod(0o600)
        monkeypatch.setattr(os, "getuid", lambda: 4711)
        assert ask_server(tmp_path, CALL) is None
    assert asked == []


def test_a_link_is_neither_followed_nor_written(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("mine")
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / NOTE).symlink_to(other)
    with announced(tmp_path / "library", "127.0.0.1", 1, "t"):
        assert ask_server(tmp_path / "library", CALL) is None
    assert other.read_text() == "mine"


def test_the_second_of_two_servers_follows_when_the_first_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(address, "_PAUSE", 0.01)
    with server(body=b"first") as (one, _), server(body=b"second") as (two, _):
        with ExitStack() as first, ExitStack() as second:
            first.enter_context(announced(tmp_path, "127.0.0.1", one, "t"))
            second.enter_context(announced(tmp_path, "127.0.0.1", two, "u"))
            assert ask_server(tmp_path, CALL) == "first"
            first.close()
            while (answer := ask_server(tmp_path, CALL)) is None:
                pass
            assert answer == "second"
        with announced(tmp_path, "127.0.0.1", one, "t"), announced(tmp_path, "127.0.0.1", 1, "u"):
            pass  # the second ends before it is its turn
    assert ask_server(tmp_path, CALL) is None
