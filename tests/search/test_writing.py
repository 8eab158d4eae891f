from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from search.libraries import SETTINGS, features, library, video

from dreamprvr.core.errors import UserError
from dreamprvr.extraction.feature_file import FeatureFile
from dreamprvr.search.writing import Writer


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


def test_pruned(writer: Writer, tmp_path: Path) -> None:
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


def test_only_what_is_there_is_deleted(writer: Writer) -> None:
    assert writer.delete(["b", "c", "b"]) == ["b"]
    assert [name for name, _ in writer.engine.payloads()] == ["a"]
