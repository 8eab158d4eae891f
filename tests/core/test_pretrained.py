"""Fetching models, from a server of this machine that stands for the hub."""

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

import huggingface_hub
import pytest
from extraction.tiny_models import save_clip
from huggingface_hub import constants, hf_api
from huggingface_hub.utils import _http

from dreamprvr.core import pretrained
from dreamprvr.core.errors import UserError
from dreamprvr.core.pretrained import fetch
from dreamprvr.extraction import encoders
from dreamprvr.extraction.encoders import load_encoder

COMMIT = "c" * 40
MODEL = "some/model"
WHOLE = {
    "config.json": b"{}", "preprocessor_config.json": b"{ }", "merges.txt": b"a b",
    "model.safetensors": b"w" * 5000, "pytorch_model.bin": b"pickle", "tf_model.h5": b"x",
    "modeling.py": b"evil", "flax_model.msgpack": b"x", "README.md": b"read",
    "onnx/model.onnx": b"x", "pytorch_model.bin.index.json": b"{}",
}  # fmt: skip


class Hub:
    """What the server holds, and what it was asked for.

    Attributes:
        files: contents by name of the file.
        refusal: status and header `X-Error-Code` of every answer, if it refuses.
        cut: bytes of weights after which it hangs up once; 0 for never.
        got: names of the files that were sent, each with the first byte.
        waited: seconds that the client meant to wait between its tries.
        free: set unless it is silent.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.refusal: tuple[int, str] | None = None
        self.cut = 0
        self.got: list[tuple[str, int]] = []
        self.waited = 0.0
        self.free = threading.Event()
        self.free.set()
        self.asked = 0


def handler_of(hub: Hub) -> type[BaseHTTPRequestHandler]:
    """Make the class that answers the requests for the files of a hub."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            hub.asked += 1
            path = unquote(urlsplit(self.path).path)
            if hub.refusal is not None:
                self.answer(hub.refusal[0], b"no", {"X-Error-Code": hub.refusal[1]})
            elif path == f"/api/models/{MODEL}":
                hub.free.wait()
                files = [{"rfilename": name} for name in hub.files]
                info = {"id": MODEL, "sha": COMMIT, "siblings": files}
                self.answer(200, json.dumps(info).encode())
            else:
                self.file(path.removeprefix(f"/{MODEL}/resolve/").partition("/")[2])

        do_HEAD = do_GET

        def file(self, name: str) -> None:
            content = hub.files.get(name)
            if content is None:
                self.answer(404, b"", {"X-Error-Code": "EntryNotFound"})
                return
            asked = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
            first, last = int(asked[0]), int(asked[2] or len(content) - 1)
            part = content[first : last + 1]
            headers = {
                "ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT,
                "Accept-Ranges": "bytes",
                "Content-Range": f"bytes {first}-{last}/{len(content)}",
            }  # fmt: skip
            if self.command == "GET":
                hub.got.append((name, first))
            self.answer(206 if first else 200, part, headers)

        def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                cut = 0 < hub.cut < len(body)
                self.wfile.write(body[: hub.cut] if cut else body)
                self.close_connection |= cut

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub = Hub(dict(WHOLE))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(hub))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    template = "/{repo_id}/resolve/{revision}/{filename}"
    for name, value in {
        "ENDPOINT": address, "HUGGINGFACE_CO_URL_TEMPLATE": address + template,
        "HF_HUB_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_XET": True, "HF_HUB_DISABLE_TELEMETRY": True,
    }.items():  # fmt: skip
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setattr(hf_api.api, "endpoint", address)

    # the client waits longer and longer between its tries
    def sleep(seconds: float) -> None:
        hub.waited += seconds

    monkeypatch.setattr(_http, "time", SimpleNamespace(**{**vars(time), "sleep": sleep}))
    yield hub
    hub.free.set()
    server.shutdown()
    server.server_close()


def test_only_what_is_needed_is_fetched_and_weights_last(
    hub: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(fetch(MODEL))
    names = ["config.json", "merges.txt", "preprocessor_config.json", "model.safetensors"]
    assert [name for name, _ in hub.got] == names
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        name: WHOLE[name] for name in names
    }
    assert capsys.readouterr().err.startswith("fetching some/model into ")
    # now it is in the cache: the network is not asked, whether it is there or not
    hub.asked = 0
    assert fetch(MODEL) == str(folder)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetch(MODEL) == str(folder)
    assert hub.asked == 0
    assert capsys.readouterr().err == ""


def test_pickles_only_where_there_is_nothing_else(hub: Hub) -> None:
    del hub.files["model.safetensors"]
    folder = Path(fetch(MODEL))
    assert (folder / "pytorch_model.bin").read_bytes() == b"pickle"
    assert not (folder / "model.safetensors").exists()


def test_weights_in_parts(hub: Hub) -> None:
    parts = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    del hub.files["model.safetensors"]
    index = json.dumps({"weight_map": {"a": parts[0], "b": parts[1]}}).encode()
    hub.files |= {**{name: name.encode() for name in parts}, "model.safetensors.index.json": index}
    folder = Path(fetch(MODEL))
    assert all((folder / name).exists() for name in (*parts, "model.safetensors.index.json"))
    (folder / parts[1]).unlink()  # as if it had been interrupted here
    assert not pretrained._has_weights(folder)
    fetch(MODEL)
    assert pretrained._has_weights(folder)


def test_an_interrupted_file_goes_on(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import file_download

    hub.cut = 2000
    with monkeypatch.context() as patch:
        # as Ctrl-C when the server pauses
        def interrupt(*arguments: Any, **options: Any) -> None:
            raise KeyboardInterrupt

        patch.setattr(file_download.time, "sleep", interrupt)
        patch.setattr(file_download, "http_get", stopped(file_download.http_get))
        with pytest.raises((KeyboardInterrupt, UserError)):
            fetch(MODEL)
    hub.cut, hub.got = 0, []
    folder = Path(fetch(MODEL))
    assert (folder / "model.safetensors").read_bytes() == WHOLE["model.safetensors"]
    assert [name for name, _ in hub.got] == ["model.safetensors"]


def stopped(get: Any) -> Any:
    """Interrupt after the first error of a transfer."""

    def once(*arguments: Any, **options: Any) -> Any:
        try:
            return get(*arguments, **options)
        except Exception:
            raise KeyboardInterrupt from None

    return once


@pytest.mark.parametrize(
    ("refusal", "why"),
    [
        ((401, "RepoNotFound"), "the hub has no model of this name, or hides it"),
        ((404, "RepoNotFound"), "the hub has no model of this name, or hides it"),
        ((403, "GatedRepo"), "its owner asks for an agreement: accept it .* `hf auth login`"),
        ((500, ""), "500"),
    ],
)
def test_refusals_are_one_line(hub: Hub, refusal: tuple[int, str], why: str) -> None:
    hub.refusal = refusal
    line = rf"^model some/model is not on this machine, and could not be fetched \(.*{why}"
    with pytest.raises(UserError, match=line) as caught:
        fetch(MODEL)
    assert "\n" not in str(caught.value)
    assert "where there is a network, run `hf download some/model`" in str(caught.value)


def test_no_network(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(UserError, match=r"could not be fetched \(.*[Rr]efused.*\): where there is"):
        fetch(MODEL)
    assert hub.waited == 0
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"some/model is not on this machine: where there is a"):
        fetch(MODEL)


def test_a_silent_network(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "PATIENCE", 0.3)
    hub.free.clear()
    begin = time.monotonic()
    with pytest.raises(UserError, match=r"could not be fetched \(.*timed out.*\): where there is"):
        fetch(MODEL)
    assert time.monotonic() - begin < 5
    assert (hub.asked, hub.waited) == (1, 0)


def test_a_name_that_cannot_be_one_of_the_hub(hub: Hub) -> None:
    with pytest.raises(UserError, match=r"^model a/b/c is not on this machine: where"):
        fetch("a/b/c")
    assert hub.asked == 0


def test_no_weights(hub: Hub) -> None:
    hub.files = {"config.json": b"{}", "x.gguf": b""}
    with pytest.raises(UserError, match="the hub has no weights of this model that can be read"):
        fetch(MODEL)


def test_a_full_disk_is_not_the_network(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", full)
    with pytest.raises(OSError, match="No space"):
        fetch(MODEL)


def test_a_folder_is_taken_as_it_is(hub: Hub, tmp_path: Path) -> None:
    assert fetch(str(tmp_path)) == str(tmp_path)
    assert hub.asked == 0


def test_an_encoder_arrives_by_itself(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = save_clip(tmp_path / "clip")
    hub.files = {path.name: path.read_bytes() for path in saved.iterdir()}
    monkeypatch.setitem(encoders.HUB, "clip-b32", MODEL)
    encoder = load_encoder("clip-b32", "cpu")
    assert encoder.name == "clip-b32"
    assert encoder.fingerprint == load_encoder(f"transformers:{saved}", "cpu").fingerprint
    hub.asked = 0
    assert load_encoder(f"transformers:{MODEL}", "cpu").name == f"transformers:{MODEL}"
    assert hub.asked == 0
    assert pretrained._has_weights(saved)
