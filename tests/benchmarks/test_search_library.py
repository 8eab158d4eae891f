from pathlib import Path

import pytest

pytest.importorskip("qdrant_edge")

from benchmarks.search_collection import EDGE, create, fill
from benchmarks.search_library import library_search, text_side
from benchmarks.search_scans import Scan
from benchmarks.search_videos import Videos

VIDEOS = Videos(30, clips=32, frames=128, concepts=5)


def test_the_best_videos_with_their_moments(tmp_path: Path) -> None:
    engine, scan = create(EDGE, tmp_path / "engine", VIDEOS.dim), Scan(VIDEOS)
    fill(engine, VIDEOS, scan)
    queries = VIDEOS.queries(4)
    search = library_search(engine, queries, None)
    for number, query in enumerate(queries.vectors):
        assert search(number) == scan.torch(query, 10).tolist()
    engine.close()


def test_a_sentence_of_clip() -> None:
    encoded = text_side(5)()
    assert encoded.text_embeds.shape == (1, 512)
