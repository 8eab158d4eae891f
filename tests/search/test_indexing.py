from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from search.engine_cases import DIM
from search.libraries import features, video

from dreamprvr.extraction.feature_file import FeatureFile
from dreamprvr.search import indexing
from dreamprvr.search.edge_engine import EdgeEngine
from dreamprvr.search.indexing import Indexer, UpdateReport, described
from dreamprvr.search.untrained import UntrainedModel


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[EdgeEngine]:
    made = EdgeEngine.create(tmp_path / "engine", 6)
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
        sizes.append([len(record.frames) for record in records])
        write(records)

    monkeypatch.setattr(engine, "upsert", upsert)
    monkeypatch.setattr(indexing, "BATCH_VIDEOS", 3)
    monkeypatch.setattr(indexing, "BATCH_ROWS", 50)
    films = [video(f"v{i}", rows=rows) for i, rows in enumerate((5, 5, 5, 60, 5, 30, 30, 5))]
    with FeatureFile(features(tmp_path / "f.hdf5", films)) as file:
        report = Indexer(engine, UntrainedModel(6), {}, {}).run(file, ignore)
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
