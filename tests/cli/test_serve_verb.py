import sys
from pathlib import Path
from typing import Any

import pytest
from cli.running import refused, run

from dreamprvr.serve import server


def test_options_reach_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(server, "serve", lambda *arguments: calls.append(arguments))
    assert run("serve", "library").code == 0
    words = ("--host", "0.0.0.0", "--allowed_host", "a", "--allowed_host", "b", "--port", "1",
             "--open", "--cache", "c", "--device", "cpu", "--token", "12345678")  # fmt: skip
    assert run("serve", "library", *words).code == 0
    assert run("serve", "library", "--no_token").code == 0
    assert calls == [
        (Path("library"), "127.0.0.1", 8000, [], None, "auto", False, None),
        (Path("library"), "0.0.0.0", 1, ["a", "b"], Path("c"), "cpu", True, "12345678"),
        (Path("library"), "127.0.0.1", 8000, [], None, "auto", False, ""),
    ]


def test_bad_options() -> None:
    assert "--port 70000 is no port" in refused("serve", "library", "--port", "70000")
    assert "at least 8 characters" in refused("serve", "library", "--token", "short")
    assert "at least 8 characters" in refused("serve", "library", "--token", "with space 123")
    contradiction = refused("serve", "library", "--token", "12345678", "--no_token")
    assert contradiction.startswith("--token and --no_token contradict each other")
    assert "library" in refused("serve")
    assert "nowhere is no library" in refused("serve", "nowhere")


def test_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "dreamprvr.serve.server", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert "pip install 'dreamprvr[search]'" in refused("serve", "library")


def test_ctrl_c_is_the_way_to_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(server, "serve", interrupted)
    assert run("serve", "library").code == 0
