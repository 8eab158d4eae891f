"""A library of either engine, and servers that do not answer."""

import json
from pathlib import Path

import pytest
from qdrant_client import QdrantClient
from search.libraries import features, video

from dreamprvr.core.errors import UserError
from dreamprvr.search.engine import remote as remote_engine
from dreamprvr.search.library import Library

pytestmark = [
    # Qdrant's engine in memory keeps no index and searches exactly, and says so
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact"),
]
URL = "http://search.example.org:6333"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace every server by Qdrant's engine in memory, and return the requested URLs."""
    client, urls = QdrantClient(":memory:"), []
    monkeypatch.setattr(client, "close", lambda: None)

    def connect(url: str) -> QdrantClient:
        urls.append(url)
        return client

    monkeypatch.setattr(remote_engine, "connect", connect)
    return urls


def test_both_engines_answer_alike(tmp_path: Path, server: list[str]) -> None:
    films = [video("a", dog=7), video("b", cat=3), video("c", dog=5, cat=9)]
    path = features(tmp_path / "features.hdf5", films)
    table = tmp_path / "videos.csv"
    table.write_text("video_id,tags\na,x;y\nc,y\n")
    answers = []
    for folder, engine in (("near", "edge"), ("far", URL)):
        with Library.create(tmp_path / folder, path, engine=engine) as made:
            made.update(path, table)
        with Library.open(tmp_path / folder) as again:
            assert again.delete(["b"]) == ["b"]
            answers.append([again.search("dog"), again.search("cat", where={"tags": "x"})])
    assert set(server) == {URL}
    for near, far in zip(*answers, strict=True):
        assert near.searched == far.searched
        for one, other in zip(near.hits, far.hits, strict=True):
            assert one.video == other.video
            assert one.score == pytest.approx(other.score, abs=1e-3)
            assert one.moments[0].start == other.moments[0].start
    assert not (tmp_path / "far" / "engine").exists()


def test_libraries_of_one_server_are_apart(tmp_path: Path, server: list[str]) -> None:
    path = features(tmp_path / "features.hdf5", [video("a")])
    with Library.create(tmp_path / "one", path, engine=URL) as one:
        one.update(path)
        with Library.create(tmp_path / "two", path, engine=URL) as two:
            assert two.videos() == []
            assert len(one.videos()) == 1


def test_a_collection_that_is_gone(tmp_path: Path, server: list[str]) -> None:
    path = features(tmp_path / "features.hdf5", [video("a")])
    Library.create(tmp_path / "one", path, engine=URL).close()
    manifest = tmp_path / "one" / "library.json"
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**content, "collection": "other"}))
    with pytest.raises(UserError, match="has no collection other"):
        Library.open(tmp_path / "one")


def test_a_server_that_does_not_answer(tmp_path: Path) -> None:
    path = features(tmp_path / "features.hdf5", [video("a")])
    with pytest.raises(UserError, match=r"does not answer .*is it running\?"):
        Library.create(tmp_path / "library", path, engine="http://127.0.0.1:1")
    assert not (tmp_path / "library" / "library.json").exists()
