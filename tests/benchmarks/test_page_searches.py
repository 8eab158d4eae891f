import json
from pathlib import Path

import pytest

pytest.importorskip("qdrant_edge")
pytest.importorskip("uvicorn")

from benchmarks import page_searches


@pytest.mark.slow
def test_all_searches_are_answered_and_the_encoder_is_loaded_once(tmp_path: Path) -> None:
    path = tmp_path / "waits.json"
    words = ["--videos", "6", "--added", "3", "--abandoned", "20", "--rounds", "2"]
    page_searches.main([*words, "--output", str(path)])
    found = json.loads(path.read_text())
    assert found["loaded"] == 1
    assert [row["search"] for row in found["results"]] == [
        "idle", "after 20 that were left", "while 3 videos are indexed",
    ]  # fmt: skip
    assert all(row["searches"] and row["median ms"] > 0 for row in found["results"])
