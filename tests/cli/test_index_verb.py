from pathlib import Path

import pytest
from cli.running import refused, run
from search.libraries import features, video

INDEX = ("index", "features.hdf5", "-o", "library")


@pytest.fixture(autouse=True)
def _films(tmp_path: Path) -> None:
    films = [video("kitchen", pan=4), video("yard", dog=7)]
    features(tmp_path / "features.hdf5", films)


def test_index_again_touches_nothing_and_then_what_changed(tmp_path: Path) -> None:
    assert "2 added" in run(*INDEX).out
    assert "2 unchanged" in run(*INDEX).out
    features(tmp_path / "features.hdf5", [video("kitchen", pan=4), video("yard", seed=1, dog=9)])
    again = run(*INDEX).out
    assert "1 changed" in again
    assert "1 unchanged" in again


def test_metadata_alone(tmp_path: Path) -> None:
    run(*INDEX)
    (tmp_path / "videos.csv").write_text("video_id,tags\nyard,pets;garden\nlost,x\n")
    out = run(*INDEX, "--metadata", "videos.csv").out
    assert "1 rows name no video of the library: lost" in out
    found = run("search", "library", "dog", "--where", "tags=pets").out
    assert "yard" in found
    assert "kitchen" not in found


def test_another_engine_or_features_are_refused(tmp_path: Path) -> None:
    run(*INDEX)
    line = refused(*INDEX, "--engine", "http://127.0.0.1:1")
    assert "lies in the engine edge" in line
    assert "features.txt" in refused("index", "features.txt", "-o", "other")


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "thesis.txt").write_text("mine")
    refused(*INDEX)
    assert [p.name for p in (tmp_path / "library").iterdir()] == ["thesis.txt"]
