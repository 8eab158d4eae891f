import json
import shutil
from pathlib import Path

import av
import pytest

pytest.importorskip("playwright.sync_api")

from benchmarks import first_picture
from benchmarks.first_picture import PART, repeat, write_part


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WIDTH": 160, "HEIGHT": 90, "RATE": 5}.items():
        monkeypatch.setattr(first_picture, name, value)


@pytest.mark.parametrize("codec", ["libx265", "mpeg4"])
def test_the_film_repeats_a_part(small: None, tmp_path: Path, codec: str) -> None:
    write_part(tmp_path / "part.mp4", codec)
    repeat(tmp_path / "part.mp4", tmp_path / "film.mp4", 3)
    with av.open(tmp_path / "film.mp4") as container:
        times = [float(frame.time) for frame in container.decode(video=0)]
        assert [stream.type for stream in container.streams] == ["video", "audio"]
        assert times == pytest.approx([number / 5 for number in range(3 * PART * 5)], abs=0.01)
        assert float((container.duration or 0) / av.time_base) == pytest.approx(30, abs=0.1)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")
def test_the_table(small: None, tmp_path: Path) -> None:
    path = tmp_path / "first.json"
    words = ["--codecs", "mpeg4", "--minutes", "1", "--rounds", "1", "--output", str(path)]
    first_picture.main([*words, "--browser", str(shutil.which("chromium"))])
    (row,) = json.loads(path.read_text())["results"]
    assert 0 < row["first picture s"] < 60
    assert row["speed"] > 1
