import os
import signal
import socket
import subprocess
import sys
import textwrap
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from serve.fake import FakeLibrary
from serve.films import film

from dreamprvr.core.errors import UserError
from dreamprvr.serve import server
from dreamprvr.serve.schema import video_key
from dreamprvr.serve.server import default_cache, serve

TESTS = Path(__file__).resolve().parents[1]


def start(folder: Path, *arguments: str) -> None:
    serve(folder, "127.0.0.1", 0, [], None, "cpu", False)


def test_no_library(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere is no library; make one: lightning index"):
        start(tmp_path / "nowhere")


def test_a_library_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "library.json").write_text("{}")

    def fail(path: Path, device: str) -> FakeLibrary:
        raise UserError("library.json is of a later version")

    monkeypatch.setattr(server, "_open_library", fail)
    with pytest.raises(UserError, match="later version"):
        start(tmp_path)


def test_a_port_that_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "library.json").write_text("{}")
    monkeypatch.setattr(server, "_open_library", lambda path, device: FakeLibrary([]))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"cannot listen on 127\.0\.0\.1:{port}: .*--port"):
            serve(tmp_path, "127.0.0.1", port, [], None, "cpu", False)
    with pytest.raises(UserError, match=r"cannot listen on no-such-host\.invalid"):
        serve(tmp_path, "no-such-host.invalid", 0, ["x"], None, "cpu", False)


def test_the_cache_folder_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "dreamprvr" / "page"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache() == Path.home() / ".cache" / "dreamprvr" / "page"


@pytest.mark.parametrize(
    ("host", "others", "given", "asks"),
    [
        ("127.0.0.1", False, None, False), ("127.0.0.1", True, None, True),
        ("127.0.0.1", True, "", False), ("127.0.0.1", False, "12345678", True),
        ("localhost", False, None, False), ("127.0.0.9", False, None, False),
        ("0.0.0.0", False, None, True), ("0.0.0.0", False, "", False),
    ],
)  # fmt: skip
def test_when_a_token_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    host: str, others: bool, given: str | None, asks: bool,
) -> None:  # fmt: skip
    (tmp_path / "library.json").write_text("{}")
    monkeypatch.setattr(server, "_open_library", lambda path, device: FakeLibrary([]))
    monkeypatch.setattr(server, "others_have_accounts", lambda: others)
    monkeypatch.setattr(server, "own_names", lambda: ["192.0.2.7", "127.0.0.1", "tower"])
    monkeypatch.setattr(server.asyncio, "run", lambda work: work.close())
    guards: list[Any] = []
    real = server.create_app

    def created(*arguments: Any) -> Any:
        guards.append(real(*arguments))
        return guards[0]

    monkeypatch.setattr(server, "create_app", created)
    serve(tmp_path, host, 0, [], tmp_path / "cache", "cpu", False, given)
    said = capsys.readouterr()
    address = said.out.split()[4]
    if host == "0.0.0.0":
        assert address.startswith("http://192.0.2.7:")  # one that works from elsewhere
        assert {"192.0.2.7", "tower", "localhost"} <= guards[0].hosts
    else:
        assert address.startswith(f"http://{host}:")
    assert guards[0].token == (address.partition("?token=")[2] or None)
    assert (guards[0].token is not None) == asks
    if asks:
        assert guards[0].token == given or len(guards[0].token) == 32
    assert ("warning: every machine" in said.err) == (host == "0.0.0.0" and not asks)


def test_names_of_this_machine() -> None:
    names = server.own_names()
    assert {"127.0.0.1", "localhost", "::1", socket.gethostname()} <= set(names)
    assert len(names) == len(set(names))
    assert not any("%" in name for name in names)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such list of users")
@pytest.mark.parametrize(
    ("users", "expected"),
    [
        ([], False),
        ([(0, "/bin/bash"), (1, "/usr/sbin/nologin"), (999, "/bin/sh")], False),  # the system's
        ([(7000, "/bin/bash")], False),  # oneself
        ([(65534, "/usr/sbin/nologin"), (1001, "/bin/false")], False),
        ([(7000, "/bin/bash"), (7001, "/bin/zsh")], True),
        ([(1000, "")], True),  # an empty field is /bin/sh
    ],
)
def test_other_people_with_accounts(
    monkeypatch: pytest.MonkeyPatch, users: list[tuple[int, str]], expected: bool
) -> None:
    import pwd

    entries = [pwd.struct_passwd(("n", "x", uid, uid, "", "/", shell)) for uid, shell in users]
    monkeypatch.setattr(pwd, "getpwall", lambda: entries)
    monkeypatch.setattr(os, "getuid", lambda: 7000)
    assert server.others_have_accounts() == expected


@pytest.mark.parametrize("token", ["", "?token=12345678"])
def test_a_token_is_not_shown_on_a_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(server.webbrowser, "open", opened.append)
    address = f"http://127.0.0.1:8000/{token}"
    with server._opened(address, tmp_path / "cache"):
        pass_on = opened[0]
        if not token:
            assert pass_on == address
            return
        path = Path(urllib.request.url2pathname(pass_on.removeprefix("file://")))
        assert "12345678" not in pass_on
        assert path.stat().st_mode & 0o077 == 0
        assert f'content="0; url={address}"' in path.read_text()
    assert not path.exists()


@pytest.mark.slow
def test_a_real_server(tmp_path: Path) -> None:
    """Over a socket, as the browser sees it; Ctrl-C ends it soon, and without a traceback."""
    program = textwrap.dedent("""
        import sys
        from pathlib import Path
        from serve.fake import FakeLibrary
        from dreamprvr.search.results import LibraryVideo
        from dreamprvr.serve import server
        film = LibraryVideo("v", Path(sys.argv[1], "v.mp4"), 1.0, {})
        server._open_library = lambda path, device: FakeLibrary([film])
        from dreamprvr.cli.verbs import run_verb
        words = ["--port", "0", "--cache", sys.argv[1], "--no_token"]
        sys.exit(run_verb(["serve", sys.argv[1], *words]))
    """)
    (tmp_path / "library.json").write_text("{}")
    os.truncate(film(tmp_path / "v.mp4", 1.0), 50_000_000)  # more than a connection holds
    environment = {
        **os.environ,
        # the root first, or tests/data_modules would stand for data_modules
        "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)]),
    }
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    address = process.stdout.readline().split()[4]
    try:
        assert ask(address) == 200
        assert ask(address, "evil.example") == 400
        assert ask(f"{address}static/..%2f..%2fapp.py") == 404
        assert ask(f"{address}api/search?q={'a' * 10_000_000}") in (0, 400, 413)
        assert ask(address) == 200  # and it is still there
        paused = urllib.request.urlopen(f"{address}api/videos/{video_key('v')}/media")
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=15)
    paused.close()
    assert process.returncode == 0
    assert errors == "WARNING:  Invalid HTTP request received.\n"  # the ten million letters


def ask(address: str, host: str | None = None) -> int:
    """Status of an answer; 0 if the server hung up."""
    request = urllib.request.Request(address, headers={"Host": host} if host else {})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except (urllib.error.URLError, ConnectionError) as error:
        if "refused" in str(error):  # it listens before it tells its address
            raise
        return 0
