import numpy as np
import pytest

from benchmarks import search_scans
from benchmarks.search_scans import Scan, ScanDtype
from benchmarks.search_videos import Videos

VIDEOS = Videos(9, dim=24, clips=4, frames=16, concepts=5, events=3)


@pytest.fixture(params=["float32", "float16"])
def dtype(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ScanDtype:
    monkeypatch.setattr(search_scans, "TILE", 4)
    chosen: ScanDtype = request.param
    return chosen


def slow_scores(queries: np.ndarray, dtype: str) -> np.ndarray:
    scores = []
    for part in VIDEOS.parts():
        for clips, frames in zip(part.clips.astype(dtype), part.frames.astype(dtype), strict=True):
            scores.append([
                0.6 * max(float(row.astype(np.float64) @ q) for row in clips)
                + 0.4 * max(float(row.astype(np.float64) @ q) for row in frames)
                for q in queries
            ])  # fmt: skip
    return np.array(scores).T


def filled(dtype: ScanDtype) -> Scan:
    scan = Scan(VIDEOS, dtype)
    for part in VIDEOS.parts():
        scan.add(*part)
    return scan


def test_every_scan_finds_the_best(dtype: ScanDtype) -> None:
    queries, scan = VIDEOS.queries(6).vectors, filled(dtype)
    expected = slow_scores(queries, dtype)
    np.testing.assert_allclose(scan.batch(queries), expected, atol=1e-5)
    for query, scores in zip(queries, expected, strict=True):
        order = np.argsort(-scores)
        assert scan.torch(query, 5).tolist() == order[:5].tolist()
        assert scan.numpy(query, 5).tolist() == order[:5].tolist()
        assert scan.torch(query, 99).tolist() == order.tolist()


def test_filtered(dtype: ScanDtype) -> None:
    queries, allowed = VIDEOS.queries(6).vectors, np.array([1, 4, 8])
    for query, scores in zip(queries, slow_scores(queries, dtype), strict=True):
        expected = allowed[np.argsort(-scores[allowed])]
        assert filled(dtype).torch(query, 2, allowed).tolist() == expected[:2].tolist()


def test_bytes(dtype: ScanDtype) -> None:
    assert Scan(VIDEOS, dtype).bytes == 9 * 20 * 24 * (4 if dtype == "float32" else 2)
