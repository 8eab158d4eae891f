"""Changes of a library."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from search.engine.cases import DIM
from search.libraries import SETTINGS, features, library, video

from dreamprvr.core.errors import UserError
from dreamprvr.extraction.feature_file import FeatureFile
from dreamprvr.search import indexing
from dreamprvr.search.encoding import SearchModel, Untrained
from dreamprvr.search.engine.edge import EdgeEngine
from dreamprvr.search.engine.interface import Layout
from dreamprvr.search.indexing import Indexer, ProgressFile, UpdateReport, Writer, described
from dreamprvr.search.manifest import PROGRESS as NAME


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[EdgeEngine]:
    made = EdgeEngine.create(tmp_path / "engine", Layout(6, ("frames",), {}))
    yield made
    made.close()


def ignore(done: int, total: int, video: str) -> None:
    """No progress bar."""


def test_batches_are_bounded_in_videos_and_rows(
    tmp_path: Path, engine: EdgeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[list[int]] = []
    write = engine.upsert

    def upsert(records: Any) -> None:
        sizes.append([len(record.tokens["frames"]) for record in records])
        write(records)

    monkeypatch.setattr(engine, "upsert", upsert)
    monkeypatch.setattr(indexing, "BATCH_VIDEOS", 3)
    monkeypatch.setattr(indexing, "BATCH_ROWS", 50)
    films = [video(f"v{i}", rows=rows) for i, rows in enumerate((5, 5, 5, 60, 5, 30, 30, 5))]
    with FeatureFile(features(tmp_path / "f.hdf5", films)) as file:
        report = Indexer(engine, SearchModel(Untrained(6)), {}, {}).run(file, ignore)
    assert sizes == [[5, 5, 5], [60], [5, 30, 30], [5]]
    assert report.added == [film.video_id for film in films]
    assert engine.count() == 8


def test_a_report_is_one_line() -> None:
    report = UpdateReport(added=["a"] * 1200, described=["b"])
    assert report.text() == "1,200 added, 0 changed, 1 described, 0 unchanged, 0 removed"


def test_described_videos_have_other_metadata() -> None:
    known = {name: {"metadata": {"title": name}, "source": DIM} for name in "abc"}
    metadata = {"a": {"title": "a"}, "b": {"title": "B"}, "c": {}, "d": {"title": "D"}}
    assert dict(described(known, metadata)) == {
        "b": {"metadata": {"title": "B"}, "source": DIM}, "c": {"metadata": {}, "source": DIM},
    }  # fmt: skip
    assert list(dict(described(known, metadata, {"b"}))) == ["c"]


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    """Of a library of two videos."""
    made = library(tmp_path, video("a"), video("b"), metadata="video_id,tags\na,x\n")
    with made, made._writing() as writer:
        yield writer


def test_metadata_of_known_and_new_videos(writer: Writer, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("video_id,tags\nb,y\nc,z\nnobody,z\n")
    path = features(tmp_path / "more.hdf5", [video("b"), video("c")])
    with FeatureFile(path) as file:
        report = writer.update(file, table, None, prune=False)
    assert (report.added, report.described, report.removed) == (["c"], ["b"], [])
    assert len(report.warnings) == 1
    assert "nobody" in report.warnings[0]
    metadata = {name: payload["metadata"] for name, payload in writer.engine.payloads()}
    assert metadata == {"a": {"tags": ["x"]}, "b": {"tags": ["y"]}, "c": {"tags": ["z"]}}


def test_pruning_removes_videos_that_the_feature_file_lacks(writer: Writer, tmp_path: Path) -> None:
    with FeatureFile(features(tmp_path / "less.hdf5", [video("b")])) as file:
        assert writer.update(file, None, None, prune=True).removed == ["a"]
    assert [name for name, _ in writer.engine.payloads()] == ["b"]


def test_other_features_change_nothing(writer: Writer, tmp_path: Path) -> None:
    other = replace(SETTINGS, stride=2.0)
    path = features(tmp_path / "other.hdf5", [video("c")], other)
    refused = pytest.raises(UserError, match=r"does not fit library .*stride")
    with FeatureFile(path) as file, refused:
        writer.update(file, None, None, prune=True)
    assert sorted(name for name, _ in writer.engine.payloads()) == ["a", "b"]


def test_only_existing_videos_are_deleted(writer: Writer) -> None:
    assert writer.delete(["b", "c", "b"]) == ["b"]
    assert [name for name, _ in writer.engine.payloads()] == ["a"]


def test_the_progress_file_holds_the_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(indexing, "PAUSE", 0.0)
    told: list[tuple[int, int, str]] = []
    with ProgressFile(tmp_path, lambda *note: told.append(note)) as note:
        note(1, 4, "pan")
        note(2, 4, "dog")
        content = json.loads((tmp_path / NAME).read_text())
    assert content == {"done": 2, "total": 4, "video": "dog", "pid": os.getpid()}
    assert told == [(1, 4, "pan"), (2, 4, "dog")]
    assert not (tmp_path / NAME).exists()


def test_the_progress_file_is_not_written_at_every_call(tmp_path: Path):
    with ProgressFile(tmp_path) as note:
        for done in range(50):
            note(done, 50, "x")
        content = json.loads((tmp_path / NAME).read_text())
    assert content["done"] < 49


def test_the_progress_file_is_removed_after_an_error(tmp_path: Path):
    def fail() -> None:
        with ProgressFile(tmp_path) as note:
            note(0, 1, "x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not (tmp_path / NAME).exists()
