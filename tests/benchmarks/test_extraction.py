import json
import sys
from pathlib import Path

import numpy as np
import pytest
from extraction.movies import constant, write_movie
from extraction.tiny_models import save_clip

from benchmarks import encoders, extraction
from benchmarks.extraction import hidden, one_at_a_time
from dreamprvr.extraction.encoders import open_model

STAND_IN = """
import json, sys
print("ready", flush=True)
for line in sys.stdin:
    with open(sys.argv[0] + ".jobs", "a") as jobs:
        jobs.write(line)
    print("done", flush=True)
"""


def test_all_ways_and_the_published_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "SAVED", {"clip-b32": save_clip})
    monkeypatch.setattr(extraction, "SIZE", (64, 36))
    monkeypatch.setattr(extraction, "SCRIPT", tmp_path / "stand_in.py")
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    video = write_movie(tmp_path / "a.mp4", constant(3, 10))
    output = tmp_path / "extraction.json"
    extraction.main([
        "--videos", str(video), "--minutes", "1", "--rounds", "1", "--public", sys.executable,
        "--output", str(output),
    ])  # fmt: skip
    rows = json.loads(output.read_text())["results"]
    ways = ["loop", "clip-video-encode", "extract", "decoding", "encoding"]
    expected = [(kind, way) for kind in ("named", "film") for way in ways]
    assert [(row["videos"], row["way"]) for row in rows] == expected
    assert rows[2]["video s a second"] == pytest.approx(3 / rows[2]["seconds"])
    assert rows[7]["video s a second"] == pytest.approx(60 / rows[7]["seconds"])
    jobs = [json.loads(line) for line in (tmp_path / "stand_in.py.jobs").read_text().splitlines()]
    assert [job["nth"] for job in jobs] == [10, 10, 25, 25]  # twice each: a round before counts not
    assert jobs[0]["videos"] == [str(video)]


def test_an_extractor_that_ends_is_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extraction, "SCRIPT", tmp_path / "stand_in.py")
    (tmp_path / "stand_in.py").write_text("")
    with (
        pytest.raises(RuntimeError, match="the published extractor ended"),
        extraction.published(sys.executable),
    ):
        pass


def test_the_loop_takes_a_picture_of_each_second(tmp_path: Path) -> None:
    encoder = open_model(str(save_clip(tmp_path / "clip")), "cpu")
    video = write_movie(tmp_path / "a.mp4", constant(3, 10))
    one_at_a_time([video], encoder, tmp_path / "rows.npy")
    assert np.load(tmp_path / "rows.npy").shape == (3, encoder.video_dim)


def test_what_is_hidden() -> None:
    taken = {"extract": [10.0, 12.0, 8.0], "decoding": [2.0] * 3, "encoding": [8.0] * 3}
    assert hidden(taken) == 0.0
    assert hidden({**taken, "extract": [8.0, 8.0, 9.0]}) == 1.0
