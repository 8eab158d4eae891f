import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api")

from benchmarks import page_memory
from benchmarks.page_memory import Films, main
from dreamprvr.search.results import LibraryVideo


def test_every_sentence_has_its_own_curve() -> None:
    library = Films([LibraryVideo(name, None, 10.0, {}) for name in "ab"])
    first, second = library.search("x"), library.search("y")
    assert [hit.video.video_id for hit in first.hits] == ["a", "b"]
    assert first.hits[0].curve != second.hits[0].curve
    assert library.video("b").video_id == "b"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")
def test_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_memory, "EVERY", 2)
    path = tmp_path / "memory.json"
    words = ["--searches", "4", "--videos", "2", "--output", str(path)]
    main([*words, "--browser", str(shutil.which("chromium"))])
    rows = json.loads(path.read_text())["results"]
    assert [row["searches"] for row in rows] == [2, 4]
    assert all(row["heap kB"] > 100 and row["nodes"] > 100 for row in rows)
    assert all(0 < row["first paint s"] < 30 for row in rows)
