from pathlib import Path
from typing import Any

import pytest
from cli.running import refused, run
from search.libraries import features, video

from dreamprvr.search import indexing
from dreamprvr.search.untrained import UntrainedModel

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


def test_videos_that_the_file_lacks_are_counted(tmp_path: Path) -> None:
    run(*INDEX)
    features(tmp_path / "features.hdf5", [video("yard", dog=7), video("pier", cat=3)])
    line, last = run(*INDEX).out.splitlines()
    assert line == "1 videos of library are not in features.hdf5 and stay; --prune removes them"
    assert last.startswith("1 added, 0 changed, 0 described, 1 unchanged, 0 removed")
    (pruned,) = run(*INDEX, "--prune").out.splitlines()
    assert pruned.startswith("0 added, 0 changed, 0 described, 2 unchanged, 1 removed")


def test_ctrl_c_keeps_what_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        encode = UntrainedModel.encode_videos

        def once(model: UntrainedModel, videos: Any) -> Any:
            patch.setattr(UntrainedModel, "encode_videos", interrupted)
            return encode(model, videos)

        def interrupted(model: UntrainedModel, videos: Any) -> Any:
            raise KeyboardInterrupt

        patch.setattr(indexing, "BATCH_VIDEOS", 1)
        patch.setattr(UntrainedModel, "encode_videos", once)
        result = run(*INDEX)
    assert (result.code, result.err) == (130, "interrupted\n")
    assert result.out == (
        "stopped; what is finished is kept, and the same command goes on from there\n"
    )
    assert run(*INDEX).out.startswith("1 added, 0 changed, 0 described, 1 unchanged")


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
