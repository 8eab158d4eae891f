import json
from pathlib import Path

import pytest
from extraction.tiny_models import save_clip

from benchmarks import encoders


def test_table_and_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "SAVED", {"one": save_clip, "two": save_clip})
    path = tmp_path / "encoders.json"
    encoders.main(
        ["--encoders", "one", "two", "--seconds", "2", "--rounds", "2", "--output", str(path)]
    )
    rows = json.loads(path.read_text())["results"]
    assert [row["encoder"] for row in rows] == ["one", "two"]
    assert all(
        row["seconds of video a second"] == pytest.approx(2 / row["seconds"]) for row in rows
    )


@pytest.mark.slow
def test_the_sizes_are_the_published_ones() -> None:
    clip = encoders.made("clip-b32")
    assert (clip.video_dim, clip.text_dim) == (512, 512)
    count = sum(weight.numel() for weight in clip.model.parameters())  # type: ignore[attr-defined]
    assert count == pytest.approx(151e6, rel=0.01)
