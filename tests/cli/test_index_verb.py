from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cli.running import refused, run
from search.libraries import features, video

from dreamprvr.search import indexing
from dreamprvr.search.encoding import SearchModel
from dreamprvr.search.manifest import read_manifest

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


def test_metadata_of_unchanged_features_are_updated(tmp_path: Path) -> None:
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
    line, gone, last = run(*INDEX).out.splitlines()
    assert gone == (
        "3 of 3 video files are gone, so they are found but not shown: "
        "/films/kitchen.mp4, /films/pier.mp4, /films/yard.mp4"
    )
    assert line == "1 videos of library are not in features.hdf5 and stay; --prune removes them"
    assert last.startswith("1 added, 0 changed, 0 described, 1 unchanged, 0 removed")
    _, pruned = run(*INDEX, "--prune").out.splitlines()
    assert pruned.startswith("0 added, 0 changed, 0 described, 2 unchanged, 1 removed")


def test_moment_tokens_of_an_untrained_library(tmp_path: Path) -> None:
    run(*INDEX, "--moment_tokens")
    run(*INDEX)  # it keeps them
    assert read_manifest(tmp_path / "library").moment_tokens
    assert "kitchen" in run("search", "library", "pan", "-k", "1").out
    run("index", "features.hdf5", "-o", "rows")
    message = refused("index", "features.hdf5", "-o", "rows", "--moment_tokens")
    assert "was made without moment tokens" in message
    trained = refused(*INDEX[:3], "new", "--ckpt_path", "x.ckpt", "--moment_tokens")
    assert "leave out --moment_tokens" in trained


def test_ctrl_c_keeps_what_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        encode = SearchModel.encode_videos

        def once(model: SearchModel, videos: Any) -> Any:
            patch.setattr(SearchModel, "encode_videos", interrupted)
            return encode(model, videos)

        def interrupted(model: SearchModel, videos: Any) -> Any:
            raise KeyboardInterrupt

        patch.setattr(indexing, "BATCH_VIDEOS", 1)
        patch.setattr(SearchModel, "encode_videos", once)
        result = run(*INDEX)
    assert (result.code, result.err) == (130, "interrupted\n")
    assert result.out == (
        "stopped; what is finished is kept, and the same command goes on from there\n"
    )
    assert "\n1 added, 0 changed, 0 described, 1 unchanged" in run(*INDEX).out


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


def test_missing_files_are_reported(tmp_path: Path) -> None:
    here = tmp_path / "here.mp4"
    here.touch()
    gone = [video(f"v{number}") for number in range(5)]
    features(tmp_path / "features.hdf5", [*gone, replace(video("here"), path=here)])
    line = run(*INDEX).out.splitlines()[0]
    assert line.startswith(
        "5 of 6 video files are gone, so they are found but not shown: /films/v0"
    )
    assert line.endswith("/films/v2.mp4, ...")
    features(tmp_path / "f.hdf5", [replace(video("here"), path=here)])
    assert "gone" not in run("index", "f.hdf5", "-o", "other").out


def test_another_video_of_the_same_id_is_refused(tmp_path: Path) -> None:
    run(*INDEX)
    other = replace(video("yard", seed=1), path=Path("/other/yard.mp4"), size=7)
    features(tmp_path / "more.hdf5", [video("pier"), other])
    line = refused("index", "more.hdf5", "-o", "library")
    assert line.startswith(
        "video id 'yard' is /other/yard.mp4 in more.hdf5, but /films/yard.mp4 in the library: "
        "extract both into one feature file"
    )
    assert "pier" not in run("library", "list", "library").out  # nothing was written
    here = tmp_path / "yard.mp4"
    here.touch()  # the old file is gone, so it was moved and made anew
    features(tmp_path / "more.hdf5", [replace(other, path=here)])
    assert "1 changed" in run("index", "more.hdf5", "-o", "library").out


def test_the_kind_of_another_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "film.hdf5").write_bytes(b"\x1a\x45\xdf\xa3\x9f")
    (tmp_path / "picture.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    assert refused("index", "film.hdf5", "-o", "library") == (
        "film.hdf5 is a video, not an HDF5 file of features; extract its features first: "
        "lightning extract film.hdf5 -o features.hdf5"
    )
    assert refused("index", "picture.jpg", "-o", "library") == (
        "picture.jpg is an image, not an HDF5 file of features"
    )
    run(*INDEX)
    for words, line in (
        (("index", "library", "-o", "other"), "library is a library, not an HDF5 file of features"),
        (("search", "features.hdf5", "dog"), "features.hdf5 is an HDF5 file, not a library; if"),
        (("library", "list", "features.hdf5"), "features.hdf5 is an HDF5 file, not a library"),
        (("serve", "film.hdf5"), "film.hdf5 is a video, not a library; extract its features"),
        ((*INDEX, "--metadata", "features.hdf5"), "features.hdf5 is an HDF5 file, not a text file"),
        (("extract-text", "film.hdf5", "-o", "w"), "film.hdf5 is a video, not a text file"),
        (("extract", "library", "-o", "w"), f"{tmp_path}/library is a library, not a folder"),
    ):
        assert refused(*words).startswith(line), words
    line = refused("index", "features.hdf5", "-o", "new", "--ckpt_path", "features.hdf5")
    assert "it is an HDF5 file" in line
    assert not (tmp_path / "other").exists()
    assert not (tmp_path / "new").exists()
