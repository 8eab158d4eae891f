"""The embedded engine on disk; test_crash kills it, test_interface has the rest."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from search.engine.cases import DIM, LAYOUT, engine, query, record
from search.libraries import engine_of, library, video

from dreamprvr.core.errors import UserError
from dreamprvr.search.engine import edge
from dreamprvr.search.engine.edge import EdgeEngine
from dreamprvr.search.engine.interface import Allowed, Layout
from dreamprvr.search.engine.journal import NAME, Journal
from dreamprvr.search.library import Library
from dreamprvr.search.manifest import read_manifest


def test_a_journal_exists_during_a_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = engine("edge", tmp_path)
    assert isinstance(made, EdgeEngine)
    journal = tmp_path / "engine" / NAME
    seen = []
    shard = made._shard

    class Watched:
        def __getattr__(self, name: str) -> object:
            if name in ("update", "flush", "optimize"):
                seen.append((name, journal.exists()))
            return getattr(shard, name)

    monkeypatch.setattr(made, "_shard", Watched())
    made.upsert([record(1)])
    made.set_payloads({"video 1": {"metadata": {}}})
    made.delete(["video 1"])
    made.compact()
    assert [name for name, _ in seen] == ["update", "flush"] * 3 + ["optimize", "flush"]
    assert all(noted for _, noted in seen)
    assert not journal.exists()
    made.close()


def test_a_write_that_fails_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = engine("edge", tmp_path)
    assert isinstance(made, EdgeEngine)
    made.upsert([record(1), record(2), record(3)])

    class Full:
        retrieve = made._shard.retrieve

        def update(self, operation: object) -> None:
            raise Exception("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(made, "_shard", Full())
        with pytest.raises(UserError, match=r"cannot be written \(no space left\)"):
            made.upsert([record(2, version=1), record(4)])
    assert EdgeEngine.is_interrupted(made.folder)
    made.repair()
    assert not EdgeEngine.is_interrupted(made.folder)
    # what replaces an acknowledged version is written again, what is new was never acknowledged
    found = made.fetch([f"video {number}" for number in range(1, 5)])
    assert [video.video_id for video in found] == ["video 1", "video 2", "video 3"]
    np.testing.assert_allclose(
        found[1].tokens["frames"], record(2, version=1).tokens["frames"], atol=1e-3
    )
    assert found[1].payload == record(2, version=1).payload
    assert made.count(Allowed({"group": "1"})) == 1
    assert made._shard.info().payload_schema["facets"].points == 3  # the index is there again
    made.close()


def test_videos_of_an_interrupted_write_are_taken_out(tmp_path: Path) -> None:
    library(tmp_path, video("a"), video("b"), metadata="video_id,tags\na,x\nb,x\n").close()
    following = read_manifest(tmp_path / "library").next().engine_in(tmp_path / "library")
    shutil.copytree(engine_of(tmp_path / "library"), following)  # as a killed writer leaves it
    Journal(following).open(["b", "never written"])
    with Library.open(tmp_path / "library") as opened:
        assert [found.video_id for found in opened.videos()] == ["a"]
        assert opened.search("dog", where={"tags": "x"}).searched == 1
        assert opened.update(tmp_path / "features.hdf5").added == ["b"]


def test_a_damaged_journal(tmp_path: Path) -> None:
    library(tmp_path, video("a")).close()
    following = read_manifest(tmp_path / "library").next().engine_in(tmp_path / "library")
    shutil.copytree(engine_of(tmp_path / "library"), following)
    (following / NAME).write_text("[")
    with Library.open(tmp_path / "library") as opened:  # the state before it is searched
        assert len(opened.videos()) == 1
        with pytest.raises(UserError, match=r"interrupted\.npz is damaged"):
            opened.compact()


def test_a_large_collection_gets_a_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "SCANNED", 300)
    monkeypatch.setattr(edge, "GRAPH_FROM", 1)
    engine("edge", tmp_path, Layout(DIM, LAYOUT.scales, {"registers": DIM, "unused": 3})).close()
    made = EdgeEngine(tmp_path / "engine", lambda: LAYOUT)  # as of a library of an earlier version
    videos = [record(number) for number in range(301)]
    made.upsert(videos[:300])
    made.compact()
    assert made._shard.info().indexed_vectors_count == 0
    made.upsert(videos[300:])
    made.compact()
    assert made._shard.info().indexed_vectors_count > 0
    made.close()
    again = EdgeEngine(made.folder, lambda: LAYOUT)
    assert again._shard.info().indexed_vectors_count > 0
    scanned, found = (
        [hit.video_id for hit in again.search(query(candidates=40, graph=graph))]
        for graph in (False, True)
    )
    assert len(set(scanned) & set(found)) >= 8  # of 10
    assert again.count() == 301
    again.close()


def test_the_collection_uses_float16_and_no_log_and_a_graph_for_candidates(tmp_path: Path) -> None:
    made = engine("edge", tmp_path)
    made.close()
    found = json.loads((tmp_path / "engine" / "edge_config.json").read_text())
    assert not found["wal_enabled"]
    assert {name: v["datatype"] for name, v in found["vectors"].items()} == dict.fromkeys(
        ("tokens", "segments", "registers"), "float16"
    )
    links = {name: v["hnsw_config"]["m"] for name, v in found["vectors"].items()}
    assert links == {"tokens": 0, "segments": 16, "registers": 0}
    assert found["vectors"]["tokens"]["size"] == DIM + 2
