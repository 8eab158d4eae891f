"""Killed while it indexes: what was acknowledged is there, and running again completes it."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path
from signal import SIGKILL

import numpy as np
import pytest
import torch
from cli import running
from cli.forks import Command
from search.libraries import features, library, video

from dreamprvr.extraction.feature_file import VideoFeatures
from dreamprvr.models.layers.basic import unit
from dreamprvr.search.engine.journal import Journal
from dreamprvr.search.library import Library
from dreamprvr.search.manifest import engines_in

TESTS = Path(__file__).parents[1]


def directions(film: VideoFeatures) -> np.ndarray:
    """The rows of a video, of unit length."""
    return unit(torch.from_numpy(film.rows)).numpy()


def start(folder: Path, *paths: Path) -> Command:
    """A process that indexes; see `search.crashing`."""
    return running.start(folder, *paths, module="search.crashing")


def start_held(folder: Path, path: Path) -> subprocess.Popen[str]:
    """A process that indexes, and after its first batch waits for a line of its input."""
    modules = os.pathsep.join([str(TESTS), str(TESTS.parent / "src"), str(TESTS.parent)])
    return subprocess.Popen(
        [sys.executable, "-m", "search.crashing", str(folder), str(path)], text=True,
        stdout=subprocess.PIPE, stdin=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": modules, "OMP_NUM_THREADS": "1", "HELD": "yes"},
    )  # fmt: skip


def kill_after(process: Command, lines: int, seconds: float) -> set[str]:
    """Kill the process after a number of lines, and return the videos that it acknowledged."""
    process.printed(lines)
    time.sleep(seconds)
    os.kill(process.pid, SIGKILL)
    _, out, _, _ = process.wait()
    said = out.splitlines()
    assert said[0] == "open"
    return {name for line in said[1:] for name in line.split()} - {"done"}


def check(folder: Path, films: dict[str, VideoFeatures], names: set[str]) -> None:
    """The named videos are there, each as in the feature file."""
    with Library.open(folder) as opened:
        assert not Journal(opened.manifest.engine_in(folder)).is_open()
        assert len(engines_in(folder)) == 1
        assert names <= {found.video_id for found in opened.videos()}
        for record in opened._session.engine.fetch(sorted(names)):
            expected = films[record.video_id]
            assert record.payload["source"]["rows"] == len(expected.rows)
            np.testing.assert_allclose(record.tokens["frames"], directions(expected), atol=1e-3)
        assert opened.search("a dog", k=100).searched >= len(names)
        for value in opened.columns().get("version", ()):  # filters know what payloads say
            where = {"version": value}
            assert opened.search("a dog", where=where).searched == len(opened.videos(where))


def complete(folder: Path, names: list[str], version: int) -> None:
    """All videos are there, each whole: of the version that was being written, or an older one."""
    with Library.open(folder) as opened:
        found = {record.video_id: record for record in opened._session.engine.fetch(names)}
        assert sorted(found) == sorted(names)
        for name, record in found.items():
            versions = [directions(video(name, seed=seed)) for seed in range(version + 1)]
            assert record.payload["source"]["rows"] == len(record.tokens["frames"])
            same = [rows for rows in versions if rows.shape == record.tokens["frames"].shape]
            assert any(np.allclose(record.tokens["frames"], rows, atol=1e-3) for rows in same)
            assert opened.video(name) is not None


@pytest.mark.slow
def test_killed_again_and_again(tmp_path: Path) -> None:
    chance = random.Random(3)
    made, names = tmp_path / "library", [f"v{number:02d}" for number in range(60)]
    known: set[str] = set()
    library(tmp_path, video("other")).close()
    for version in range(5):  # every version changes all videos
        films = {name: video(name, seed=version) for name in names}
        path = features(tmp_path / "features.hdf5", films.values())
        acknowledged = kill_after(start(made, path), chance.randrange(3, 12), chance.random() / 50)
        assert acknowledged
        check(made, films, acknowledged)
        known |= acknowledged
        complete(made, sorted(known), version)
    code, _, errors, _ = start(made, path).wait()
    assert code == 0, errors
    check(made, films, set(names))
    with Library.open(made) as opened:
        report = opened.update(path)
        assert (len(report.unchanged), report.added, report.changed) == (60, [], [])
        assert {found.video_id for found in opened.videos()} == {*names, "other"}
    assert not (made / "progress.json").exists()


@pytest.mark.slow
def test_killed_while_it_writes_metadata(tmp_path: Path) -> None:
    films = {name: video(name) for name in (f"v{number:02d}" for number in range(40))}
    made = tmp_path / "library"
    tables = [tmp_path / f"{version}.csv" for version in range(4)]
    for table in tables:
        lines = ["video_id,version", *(f"{name},{table.stem}" for name in films)]
        table.write_text("\n".join(lines))
    library(tmp_path, *films.values(), metadata=tables[0].read_text()).close()
    for seconds in (0.05, 0.12, 0.21, 0.33, 0.4, 0.52):
        kill_after(start(made, tmp_path / "features.hdf5", *tables), 2, seconds)
        check(made, films, set(films))
        with Library.open(made) as opened:
            assert all(found.metadata.keys() == {"version"} for found in opened.videos())
