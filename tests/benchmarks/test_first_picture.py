import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api")

from benchmarks import first_picture


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")
def test_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_picture, "SIZE", (160, 90))
    monkeypatch.setattr(first_picture, "RATE", 5)
    path = tmp_path / "first.json"
    words = ["--codecs", "mpeg4", "--minutes", "1", "--rounds", "1", "--output", str(path)]
    first_picture.main([*words, "--browser", str(shutil.which("chromium"))])
    (row,) = json.loads(path.read_text())["results"]
    assert 0 < row["first picture s"] < 60
    assert row["speed"] > 1
