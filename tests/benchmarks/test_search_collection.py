from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("qdrant_edge")
pytest.importorskip("qdrant_client")

from benchmarks.search_collection import EDGE, MEMORY, asked, create, disk_bytes, fill, opened
from benchmarks.search_scans import Scan
from benchmarks.search_videos import Videos, shelf, video_id

VIDEOS = Videos(45, dim=24, clips=4, frames=16, concepts=5, events=3)


@pytest.mark.filterwarnings("ignore:Local mode performs exact")
@pytest.mark.filterwarnings("ignore:Payload indexes have no effect")
@pytest.mark.parametrize("name", [EDGE, MEMORY])
def test_an_engine_finds_what_a_scan_finds(tmp_path: Path, name: str) -> None:
    engine, scan = create(name, tmp_path / "engine", VIDEOS.dim), Scan(VIDEOS)
    build = fill(engine, VIDEOS, scan)
    assert build.write > 0
    assert engine.count() == 45
    assert engine.count(shelf(3)) == 3
    for query in VIDEOS.queries(5).vectors:
        expected = [video_id(int(v)) for v in scan.torch(query, 10)]
        assert [hit.video_id for hit in engine.search(asked(query, 10, None))] == expected
        few = [hit.video_id for hit in engine.search(asked(query, 10, 45))]
        assert few == expected
    engine.close()


def test_opened_elsewhere(tmp_path: Path) -> None:
    engine = create(EDGE, tmp_path / "engine", VIDEOS.dim)
    fill(engine, VIDEOS, Scan(VIDEOS))
    engine.close()
    found = opened(tmp_path / "engine", VIDEOS.queries(3).vectors, 10, 20)
    assert found.open_seconds > 0
    assert found.first_seconds > 0
    assert list(found.stages) == ["before", "candidates", "exact"]


def test_holes_take_no_disk(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "a").write_bytes(np.random.default_rng(0).bytes(100_000))
    with (tmp_path / "hole").open("wb") as file:
        file.truncate(50_000_000)
    assert 100_000 <= disk_bytes(tmp_path) < 1_000_000
