"""The page over a library of `dreamprvr.search`, not the fake of the other tests."""

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
from models.published_models import OTHER_MODELS
from search.checkpoints import checkpoint, network
from search.libraries import WordEncoder, features, library, video
from search.test_crash import start_held
from search.test_encoding import made
from serve.films import png
from starlette.testclient import TestClient

from dreamprvr.extraction import encoders
from dreamprvr.extraction.find_videos import find_videos
from dreamprvr.search.encoding import SearchModel
from dreamprvr.search.library import Library
from dreamprvr.serve import app as app_module
from dreamprvr.serve.app import create_app
from dreamprvr.serve.keeper import Keeper
from dreamprvr.serve.server import _open_library

METADATA = "video_id,title,tags\na,A walk,dog;park\nb,A kitchen,home\n"


@pytest.fixture
def folder(tmp_path: Path, films: Path) -> Path:
    """A library of three videos: `a` shows a dog from second 7 to 10, `b` a pan, `c` nothing."""
    videos = [
        replace(video("a", rows=12, dog=7), path=films / "red.mp4"),
        replace(video("b", rows=12, pan=3), path=films / "red.mp4"),
        video("c", rows=12),
    ]
    library(tmp_path, *videos, metadata=METADATA).close()
    return tmp_path / "library"


@pytest.mark.parametrize("early", [True, False], ids=["opened before", "opened by the page"])
def test_from_a_sentence_to_the_second(folder: Path, tmp_path: Path, early: bool) -> None:
    """`serve` opens the library on one thread, and searches on another."""
    keeper = Keeper(folder, lambda path: _open_library(path, "cpu"))
    if early:
        assert keeper.try_open()
    with TestClient(create_app(keeper, tmp_path / "cache"), base_url="http://localhost") as client:
        while (about := client.get("/api/library").json())["state"] != "ready":
            pass
        assert about["videos"] == 3
        assert about["columns"] == [{"name": "tags", "values": ["dog", "home", "park"]}]
        hits = client.get("/api/search", params={"q": "dog"}).json()["hits"]
        assert hits[0]["video"]["title"] == "A walk"
        assert hits[0]["video"]["metadata"]["tags"] == ["dog", "park"]
        moment = hits[0]["moments"][0]
        assert 7 <= moment["start"] < moment["end"] <= 10
        assert hits[0]["registers"] == []  # untrained
        for name, found in (("WALK", {"a"}), ("red.mp4", {"a", "b"}), ("c.mp4", {"c"})):
            named = client.get("/api/search", params={"q": "dog", "name": name}).json()["hits"]
            assert {hit["video"]["id"] for hit in named} == found  # by title, path or id
        filtered = {"q": "dog", "where": ["tags=home", "tags=park"]}
        assert client.get("/api/search", params=filtered).json()["searched"] == 2
        refused = client.get("/api/search", params={"q": "dog", "where": "no=1"})
        assert (refused.status_code, list(refused.json())) == (400, ["error"])
        assert client.get(f"/api/videos/{hits[0]['video']['key']}/media").status_code == 200
        missing = {hit["video"]["id"] for hit in hits if not hit["video"]["there"]}
        assert missing == {"c"}
    with Library.open(folder) as again:  # the page has let go of its lock
        assert again.delete(["c"]) == ["c"]


def test_a_picture_is_searched_as_by_the_command(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Library.open(folder) as opened:
        expected = [hit.score for hit in opened.search(image=png()).hits]
    keeper = Keeper(folder, lambda path: _open_library(path, "cpu"))
    assert keeper.try_open()
    with TestClient(create_app(keeper, tmp_path / "cache"), base_url="http://localhost") as client:
        found = client.post("/api/search", content=png()).json()
        assert [hit["score"] for hit in found["hits"]] == expected
        assert found["strength"] is None
        monkeypatch.setattr(WordEncoder, "searches_untrained", False)
        refused = client.post("/api/search?k=3", content=png())
        assert refused.status_code == 400
        assert refused.json()["error"].startswith(
            "encoder words does not put pictures and sentences into one space, so this library "
            "cannot be searched by a picture"
        )


def test_the_page_searches_what_was_there_while_another_process_writes(
    folder: Path, tmp_path: Path, films: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real process writes; the page then shows its state, without loading the encoder again."""
    monkeypatch.setattr(app_module, "_RETRY", 0.05)
    loaded: list[str] = []

    class Counted(WordEncoder):
        def __init__(self, device: str = "cpu") -> None:
            super().__init__(device)
            loaded.append(device)

    monkeypatch.setitem(encoders._registered, WordEncoder.name, Counted)
    path = features(tmp_path / "more.hdf5", [video(name, rows=12) for name in "defg"])
    keeper = Keeper(folder, lambda path: _open_library(path, "cpu"))
    with TestClient(create_app(keeper, tmp_path / "cache"), base_url="http://localhost") as client:

        def wait(videos: int) -> None:
            while client.get("/api/library").json().get("videos") != videos:
                time.sleep(0.01)

        def searched() -> int:
            return int(client.get("/api/search", params={"q": "dog"}).json()["searched"])

        wait(3)
        with start_held(folder, path) as process:
            assert process.stdout is not None
            assert [process.stdout.readline() for _ in range(2)] == ["open\n", "d e\n"]
            assert (folder / "progress.json").exists()
            assert client.get("/api/library").json()["state"] == "ready"
            assert searched() == 3
            assert process.communicate("go on\n")[0] == "f g\ndone\n"
        wait(7)
        assert searched() == 7
        with Library.open(folder) as writer:
            assert writer.delete(["c"]) == ["c"]
        wait(6)
        assert searched() == 6
    assert loaded == ["cpu"]


def test_registers_of_a_trained_library(tmp_path: Path) -> None:
    """The cosines of the query with the video's registers, computed from the network itself."""
    shown = video("a", rows=12, dog=7)
    made = Library.create(
        tmp_path / "library", features(tmp_path / "features.hdf5", [shown]),
        checkpoint(tmp_path / "best.ckpt"), device="cpu",
    )  # fmt: skip
    with made:
        made.update(tmp_path / "features.hdf5")
    keeper = Keeper(tmp_path / "library", lambda path: _open_library(path, "cpu"))
    keeper.try_open()
    with TestClient(create_app(keeper, tmp_path / "cache"), base_url="http://localhost") as client:
        (hit,) = client.get("/api/search", params={"q": "dog"}).json()["hits"]
    model = SearchModel(network())
    (found,) = model.encode_videos([shown.rows])
    query = model.encode_query(WordEncoder(), "dog").embedding[0].numpy()
    cosines = found.extras["registers"] @ query
    expected = cosines.reshape(-1, 2).max(axis=0)  # sections of 8 rows
    assert hit["registers"] == pytest.approx(expected.tolist(), abs=2e-3)
    assert len(hit["registers"]) == 2


@pytest.mark.parametrize("kind", OTHER_MODELS)
def test_models_without_registers(tmp_path: Path, kind: str) -> None:
    """The page gives the scores and the moments of the library, whichever model searches."""
    videos = [video("a", rows=12, dog=7), video("b", rows=9, pan=3)]
    path, weights = tmp_path / "features.hdf5", tmp_path / "best.ckpt"
    model = checkpoint(weights, made=made(kind))
    with Library.create(tmp_path / "library", features(path, videos), model, device="cpu") as built:
        built.update(path)
        expected = built.search("dog", moments=3).hits
    keeper = Keeper(tmp_path / "library", lambda path: _open_library(path, "cpu"))
    keeper.try_open()
    with TestClient(create_app(keeper, tmp_path / "cache"), base_url="http://localhost") as client:
        hits = client.get("/api/search", params={"q": "dog"}).json()["hits"]
    assert [hit["video"]["id"] for hit in hits] == [hit.video.video_id for hit in expected]
    for hit, wanted in zip(hits, expected, strict=True):
        assert hit["registers"] == []
        assert hit["score"] == pytest.approx(wanted.score, abs=1e-6)
        unsaid = {"words": None, "share": None}
        assert hit["moments"] == [{**vars(moment), **unsaid} for moment in wanted.moments]


def test_a_file_whose_name_is_not_unicode(tmp_path: Path, films: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.mp4")
    shutil.copy(films / "red.mp4", path)
    (found,) = find_videos([path]).videos
    assert found.video_id == "caf\\xe9"
    library(tmp_path, replace(video(found.video_id, rows=12, dog=7), path=found.path)).close()
    keeper = Keeper(tmp_path / "library", lambda path: _open_library(path, "cpu"))
    assert keeper.try_open()
    with TestClient(create_app(keeper, tmp_path / "cache"), base_url="http://localhost") as client:
        (hit,) = client.get("/api/search", params={"q": "dog"}).json()["hits"]
        assert hit["video"]["id"] == hit["video"]["title"] == "caf\\xe9"
        place = f"/api/videos/{hit['video']['key']}"
        for what in ("media", "thumbnail?t=1", "clip.mp4?start=0&end=1", "moments.vtt?q=dog"):
            assert client.get(f"{place}/{what}").status_code == 200, what
        path.unlink()
        answer = client.get(f"{place}/media")
        assert answer.status_code == 404
        assert "caf\\udce9.mp4 is not where it was" in answer.json()["error"]
