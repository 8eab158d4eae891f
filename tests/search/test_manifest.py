import json
from dataclasses import replace
from pathlib import Path

import pytest
from search.libraries import SETTINGS

from dreamprvr.errors import UserError
from dreamprvr.search.manifest import NAME, Manifest, read_manifest

MANIFEST = Manifest(SETTINGS, 6, "edge", "", "")


@pytest.mark.parametrize("engine", ["edge", "http://localhost:6333", "https://vectors.example"])
def test_round_trip(tmp_path: Path, engine: str):
    manifest = replace(MANIFEST, engine=engine, collection="videos")
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
        ({"engine": "file:///etc"}, "is damaged"),
        ({"engine": "http://x", "collection": ""}, "is damaged"),
        ({"settings": None}, "is damaged"),
        ({"settings": {"encoder": "x"}}, "is damaged"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, change: dict[str, object], message: str):
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
