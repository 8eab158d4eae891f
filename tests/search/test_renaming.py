"""Videos that come back under another id replace what they were, and keep their metadata."""

import dataclasses
from pathlib import Path

import pytest
from search.libraries import features, library, video

from dreamprvr.extraction.feature_file import VideoFeatures
from dreamprvr.search.edge_engine import EdgeEngine
from dreamprvr.search.library import Library
from dreamprvr.search.renaming import Renames

CSV = "video_id,title\na,First\nb,Second\n"


def called(name: str, like: VideoFeatures, path: str | None = None) -> VideoFeatures:
    """The same video under another id."""
    return dataclasses.replace(like, video_id=name, path=Path(path or like.path))


def titles(made: Library) -> dict[str, str]:
    return {found.video_id: found.title for found in made.videos()}


def test_a_new_id_of_a_known_path(tmp_path: Path) -> None:
    with library(tmp_path, video("a", dog=7), video("b"), metadata=CSV) as made:
        path = features(tmp_path / "new.hdf5", [called("films-a", video("a", dog=7)), video("b")])
        report = made.update(path)
        assert (report.renamed, report.replaced, report.added) == (["films-a"], ["a"], [])
        assert report.text().endswith("1 unchanged, 0 removed, 1 renamed")
        assert titles(made) == {"films-a": "First", "b": "Second"}
        hits = made.search("dog").hits
        assert [hit.video.video_id for hit in hits] == ["films-a", "b"]
        again = made.update(path)
        assert (again.unchanged, again.renamed) == (["b", "films-a"], [])


def test_other_rows_at_a_known_path(tmp_path: Path) -> None:
    """A film that was cut anew and whose id changed as well."""
    with library(tmp_path, video("a"), video("b"), metadata=CSV) as made:
        cut = called("c", video("a", seed=1), "/films/a.mp4")
        report = made.update(features(tmp_path / "new.hdf5", [cut, video("b")]), prune=True)
        assert (report.renamed, report.replaced, report.removed) == (["c"], ["a"], [])
        assert titles(made) == {"c": "First", "b": "Second"}


@pytest.mark.parametrize("there", [False, True])
def test_a_file_that_was_renamed(tmp_path: Path, there: bool) -> None:
    """The old file is gone; if it is not, the new one is a copy."""
    old = tmp_path / "a.mp4"
    film = called("a", video("a"), str(old))
    if there:
        old.write_text("")
    with library(tmp_path, film, video("b"), metadata=CSV) as made:
        new = called("c", film, str(tmp_path / "c.mp4"))
        report = made.update(features(tmp_path / "new.hdf5", [new, video("b")]))
        assert (report.added, report.renamed) == ((["c"], []) if there else ([], ["c"]))
        assert titles(made) == {"b": "Second"} | (
            {"a": "First", "c": "c"} if there else {"c": "First"}
        )


def test_a_moved_file_keeps_its_id_and_is_not_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with library(tmp_path, video("a"), video("b"), metadata=CSV) as made:
        monkeypatch.delattr(EdgeEngine, "upsert")
        moved = called("a", video("a"), "/elsewhere/a.mp4")
        report = made.update(features(tmp_path / "new.hdf5", [moved]))
        assert (report.described, report.renamed, report.added) == (["a"], [], [])
        assert titles(made) == {"a": "First", "b": "Second"}


def test_what_a_table_says_counts_more_than_what_was_known(tmp_path: Path) -> None:
    with library(tmp_path, video("a"), video("b"), metadata=CSV) as made:
        path = features(tmp_path / "new.hdf5", [called("c", video("a")), called("d", video("b"))])
        table = tmp_path / "new.csv"
        table.write_text("video_id,title\na,Old id\nd,New id\n")
        made.update(path, table)
        assert titles(made) == {"c": "Old id", "d": "New id"}


def test_a_run_that_was_killed_is_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between adding the new id and taking out the old one."""
    with library(tmp_path, video("a"), video("b"), metadata=CSV) as made:
        path = features(tmp_path / "new.hdf5", [called("c", video("a")), video("b")])
        with monkeypatch.context() as patch:
            patch.setattr(EdgeEngine, "delete", lambda *_: None)
            made.update(path)
        assert titles(made) == {"a": "First", "b": "Second", "c": "First"}
        report = made.update(path)
        assert (report.renamed, report.replaced) == (["c"], ["a"])
        assert titles(made) == {"b": "Second", "c": "First"}


def payload(path: str, digest: str = "") -> dict[str, object]:
    source = {"path": path, "digest": digest, "rows": 5, "size": 5, "mtime_ns": 5}
    return {"source": source, "metadata": {}}


def test_paths_that_say_nothing() -> None:
    known = {name: payload(path) for name, path in (("a", "/x"), ("b", ""), ("c", "."))}
    renames = Renames(known, {"d": "/x", "e": "/x", "f": "", "g": "."})
    for path in ("/x", "", "."):
        assert renames.replaced_by(payload(path), new=True) == []


def test_each_is_given_once_and_never_in_doubt() -> None:
    known = {name: payload(f"/none/{name}", name[0]) for name in ("a1", "a2", "b", "c")}
    renames = Renames(known, {"n": "/new", "m": "/none/b", "c": "/none/c"})
    assert renames.replaced_by(payload("/new", "a"), new=True) == []  # two are alike
    assert renames.replaced_by(payload("/new", "b"), new=False) == []
    assert renames.replaced_by(payload("/none/b", "z"), new=False) == ["b"]
    assert renames.replaced_by(payload("/new", "b"), new=True) == []
    assert renames.replaced_by(payload("/other", "c"), new=True) == []  # the file still has it
