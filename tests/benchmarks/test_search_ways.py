from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("qdrant_edge")
pytest.importorskip("qdrant_client")

from benchmarks import search_ways
from benchmarks.search_videos import Videos, shelf, video_id
from benchmarks.search_ways import (
    EDGE,
    MEMORY,
    Scan,
    ScanDtype,
    create,
    engine_query,
    fill,
    library_search,
    open_and_search,
    text_side,
)
from dreamprvr.search.engine.interface import Allowed

THIRTY = Videos(30, clips=32, frames=128, concepts=5)
FORTY = Videos(45, dim=24, clips=4, frames=16, concepts=5, events=3)
NINE = Videos(9, dim=24, clips=4, frames=16, concepts=5, events=3)


@pytest.fixture(params=["float32", "float16"])
def dtype(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ScanDtype:
    monkeypatch.setattr(search_ways, "TILE", 4)
    chosen: ScanDtype = request.param
    return chosen


def slow_scores(queries: np.ndarray, dtype: str) -> np.ndarray:
    scores = []
    for part in NINE.parts():
        for clips, frames in zip(part.clips.astype(dtype), part.frames.astype(dtype), strict=True):
            scores.append([
                0.6 * max(float(row.astype(np.float64) @ q) for row in clips)
                + 0.4 * max(float(row.astype(np.float64) @ q) for row in frames)
                for q in queries
            ])  # fmt: skip
    return np.array(scores).T


def filled(dtype: ScanDtype) -> Scan:
    scan = Scan(NINE, dtype)
    for part in NINE.parts():
        scan.add(*part)
    return scan


def test_every_scan_finds_the_best(dtype: ScanDtype) -> None:
    queries, scan = NINE.queries(6).vectors, filled(dtype)
    expected = slow_scores(queries, dtype)
    np.testing.assert_allclose(scan.batch(queries), expected, atol=1e-5)
    for query, scores in zip(queries, expected, strict=True):
        order = np.argsort(-scores)
        assert scan.torch(query, 5).tolist() == order[:5].tolist()
        assert scan.numpy(query, 5).tolist() == order[:5].tolist()
        assert scan.torch(query, 99).tolist() == order.tolist()


def test_filtered(dtype: ScanDtype) -> None:
    queries, allowed = NINE.queries(6).vectors, np.array([1, 4, 8])
    for query, scores in zip(queries, slow_scores(queries, dtype), strict=True):
        expected = allowed[np.argsort(-scores[allowed])]
        assert filled(dtype).torch(query, 2, allowed).tolist() == expected[:2].tolist()


def test_bytes(dtype: ScanDtype) -> None:
    assert Scan(NINE, dtype).bytes == 9 * 20 * 24 * (4 if dtype == "float32" else 2)


@pytest.mark.filterwarnings("ignore:Local mode performs exact")
@pytest.mark.filterwarnings("ignore:Payload indexes have no effect")
@pytest.mark.parametrize("name", [EDGE, MEMORY])
def test_an_engine_finds_what_a_scan_finds(tmp_path: Path, name: str) -> None:
    engine, scan = create(name, tmp_path / "engine", FORTY.dim), Scan(FORTY)
    build = fill(engine, FORTY, scan)
    assert build["write s"] > 0
    assert engine.count() == 45
    assert engine.count(Allowed(shelf(3))) == 3
    for query in FORTY.queries(5).vectors:
        expected = [video_id(int(v)) for v in scan.torch(query, 10)]
        assert [hit.video_id for hit in engine.search(engine_query(query, 10, None))] == expected
        few = [hit.video_id for hit in engine.search(engine_query(query, 10, 45))]
        assert few == expected
    engine.close()


def test_costs_of_opening_and_searching(tmp_path: Path) -> None:
    engine = create(EDGE, tmp_path / "engine", FORTY.dim)
    fill(engine, FORTY, Scan(FORTY))
    engine.close()
    costs = open_and_search(tmp_path / "engine", FORTY.queries(3).vectors, 10, 20)
    assert costs["open s"] > 0
    assert costs["first query ms"] > 0
    assert ("exact: own MB" in costs) == Path("/proc/self/status").exists()


def test_the_best_videos_with_their_moments(tmp_path: Path) -> None:
    engine, scan = create(EDGE, tmp_path / "engine", THIRTY.dim), Scan(THIRTY)
    fill(engine, THIRTY, scan)
    queries = THIRTY.queries(4)
    search = library_search(engine, queries, None)
    for number, query in enumerate(queries.vectors):
        assert search(number) == scan.torch(query, 10).tolist()
    engine.close()


def test_a_sentence_of_clip() -> None:
    encoded = text_side(5)(0)
    assert encoded.text_embeds.shape == (1, 512)
