"""The examples of docs/api.md work, and there is one for every route."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from serve.browsing import Server
from serve.fake import FakeLibrary, keeper_of
from starlette.testclient import TestClient

from dreamprvr.serve.app import create_app

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^    (.+)$", TEXT, re.MULTILINE)
TOKEN = "a-token-of-a-test"


def test_every_route_is_described(client: TestClient) -> None:
    routes = {
        f"{method.upper()} {path}"
        for path, methods in client.get("/openapi.json").json()["paths"].items()
        for method in methods
    }
    assert set(re.findall(r"^\| `(\w+ /\S+)` \|", TEXT, re.MULTILINE)) == routes
    for route in routes:
        place = re.escape(route.partition(" ")[2])
        pattern = (
            place.replace(r"\{key\}", r"\$KEY")
            .replace(r"\{number\}", r"\d+")
            .replace(r"\{ending\}", r"\w+")
            .replace(r"\{name\}", r"\$PICTURE")
        )
        sends = "--data-binary" if route.startswith("POST") else ""
        found = (line for line in EXAMPLES if re.search(rf'"\$PAGE{pattern}["?]', line))
        assert any(sends in line for line in found), route


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("bash")), reason="needs curl, bash")
def test_the_examples(library: FakeLibrary, tmp_path: Path) -> None:
    app = create_app(keeper_of(library, tmp_path / "library"), tmp_path / "cache", (), TOKEN)
    with Server(app) as server:
        script = ["set -e", "shopt -s expand_aliases", *EXAMPLES]
        text = "\n".join(script).replace("http://localhost:8000", server.address)
        text = text.replace("the-token-that-lightning-serve-printed", TOKEN)
        waits = f"until ask $PAGE/api/library | grep -q ready; do sleep 0.1; done\n{EXAMPLES[3]}"
        text = text.replace(EXAMPLES[3], waits, 1)
        done = subprocess.run(
            ["bash", "-c", text], cwd=tmp_path, capture_output=True, text=True, timeout=120,
            check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done
    assert done.stdout.endswith("\n304\n") or done.stdout.endswith("}304\n")
    begins = {
        "answer.json": b"{", "alike.json": b"{", "later.json": b"{", "small.jpg": b"\xff\xd8",
        "other.jpg": b"\xff\xd8", "moments.csv": b"\xef\xbb\xbfrank,", "moments.zip": b"PK",
        "film.mp4": b"\0", "piece.mp4": b"\0", "still.jpg": b"\xff\xd8", "clip.mp4": b"\0",
        "moments.vtt": b"WEBVTT", "moments.edl": b"TITLE:", "stills.avif": b"\0",
    }  # fmt: skip
    for name, begin in begins.items():
        assert (tmp_path / name).read_bytes().startswith(begin), name
    assert (tmp_path / "beginning.bin").stat().st_size == 1024
