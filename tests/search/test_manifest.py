import json
from dataclasses import replace
from pathlib import Path

import pytest
from search.libraries import SETTINGS

from dreamprvr.core.errors import UserError
from dreamprvr.search.manifest import NAME, Manifest, check_engine, read_manifest

MANIFEST = Manifest(SETTINGS, 6, "edge", "", "")


@pytest.mark.parametrize("engine", ["edge", "http://localhost:6333", "https://vectors.example"])
def test_a_manifest_is_read_as_it_was_written(tmp_path: Path, engine: str):
    manifest = replace(MANIFEST, engine=engine, collection="videos", moment_tokens=True)
    manifest.write(tmp_path)
    assert read_manifest(tmp_path) == manifest


def test_no_library(tmp_path: Path):
    with pytest.raises(UserError, match="is no library; make one: lightning index"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "has version 2, and this program reads version 1"),
        ({"format": "other"}, "does not describe a library"),
        ({"dim": "6"}, "is damaged"),
        ({"dim": True}, "is damaged"),
        ({"dim": 0}, "is damaged"),
        ({"moment_tokens": 1}, "is damaged"),
        ({"engine": "file:///etc"}, "'file:///etc' is neither edge nor the address"),
        ({"engine": "http://x", "collection": ""}, "is damaged"),
        ({"settings": None}, "is damaged"),
        ({"settings": {"encoder": "x"}}, "is damaged"),
    ],
)
def test_entries_that_do_not_fit_are_refused(
    tmp_path: Path, change: dict[str, object], message: str
):
    MANIFEST.write(tmp_path)
    content = json.loads((tmp_path / NAME).read_text())
    (tmp_path / NAME).write_text(json.dumps(content | change))
    with pytest.raises(UserError) as caught:
        read_manifest(tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_json(tmp_path: Path):
    (tmp_path / NAME).write_text("{")
    with pytest.raises(UserError):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    "engine",
    [
        "edge", "http://localhost:6333", "https://vectors.example", "http://127.0.0.1:1/path/",
        "http://[::1]:6333", "https://a-b.example:65535",
    ],
)  # fmt: skip
def test_addresses_of_servers(engine: str):
    check_engine(engine, "--engine")


@pytest.mark.parametrize(
    "engine",
    [
        "", "other", "http://", "http:///x", "http://a b", " http://a", "http://a:0", "http://a:",
        "http://a:99999", "http://a:-1", "http://a:x", "http://a..b", "http://" + "a" * 64,
        "http://" + "a." * 10**6, "http://[::1", "http://::1", "http://a?x=1", "http://a#b", "HTTP",
        "http://a\n", "http://a\x00", "http://ex\u00e4mple", "http://a:\u0661", "ftp://x", "file:///x",
        "http://a/../b c",
    ],
)  # fmt: skip
def test_a_wrong_address_is_refused_in_one_line(engine: str):
    with pytest.raises(UserError, match="is neither edge nor the address") as caught:
        check_engine(engine, "--engine")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_password_in_an_address_is_not_printed():
    with pytest.raises(UserError, match="QDRANT_API_KEY") as caught:
        check_engine("http://me:secret@a:1", "--engine")
    assert "secret" not in str(caught.value)
