"""The payloads, metadata and ids of the videos of a library."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
from search.libraries import SETTINGS, features, library, video
from shared import DATA, needs_data

from dreamprvr.core.errors import UserError
from dreamprvr.evaluation.moments import Timeline
from dreamprvr.extraction.feature_file import VideoFeatures, VideoRecord
from dreamprvr.search.catalogue import (
    Renames,
    library_video,
    make_payload,
    metadata_of,
    path_of,
    read_metadata,
    same_vectors,
    timeline_of,
)
from dreamprvr.search.engine.edge import EdgeEngine
from dreamprvr.search.engine.points import METADATA
from dreamprvr.search.library import Library

ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)


def a_record(path: Path = Path("/films/a b.mp4")) -> VideoRecord:
    return VideoRecord("a", 0.5, 4.25, path, 2**40, 2**60 + 1, "odd")


@pytest.mark.parametrize("path", ["/films/a b.mp4", "/caf\u00e9/%2F", os.fsdecode(b"/caf\xe9")])
def test_a_payload_is_json_and_keeps_any_path(path: str) -> None:
    payload = make_payload(a_record(Path(path)), ROWS)
    again = json.loads(json.dumps(payload).encode())
    assert again == payload
    assert path_of(again) == Path(path)
    assert again["source"]["mtime_ns"] == 2**60 + 1


def test_a_video_of_a_payload() -> None:
    video = library_video(
        "a", {**make_payload(a_record(), ROWS), METADATA: {"title": "T", "tags": ["x"]}}
    )
    assert (video.path, video.duration, video.title) == (Path("/films/a b.mp4"), 4.25, "T")
    assert video.metadata == {"title": "T", "tags": ["x"]}
    assert metadata_of({}) == {}


def test_rows_decide_whether_vectors_are_the_same() -> None:
    first = make_payload(a_record(), ROWS)
    assert same_vectors(
        first, {**make_payload(a_record(Path("/b.mp4")), ROWS), METADATA: {"title": "T"}}
    )
    assert not same_vectors(first, make_payload(a_record(), ROWS + 1e-6 * ROWS))
    assert not same_vectors(first, make_payload(a_record(), ROWS.reshape(6, 2)))


def test_the_timeline() -> None:
    found = timeline_of(make_payload(a_record(), ROWS), SETTINGS)
    assert found == Timeline(4, 0.5, 1.0, 1.0, 4.25)


def table(folder: Path, text: str) -> Path:
    path = folder / "videos.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_columns_lists_and_empty_cells(tmp_path: Path):
    path = table(
        tmp_path,
        'video_id,title,tags,year\na,"Pan, flip",cooking; home ;,2020\nb,,,\n\nz,lost,,\n',
    )
    found = read_metadata(path, {"a": Path("/a.mp4"), "b": Path("/b.mp4")})
    assert found.of == {
        "a": {"title": "Pan, flip", "tags": ["cooking", "home"], "year": "2020"},
        "b": {},
    }
    assert found.unknown == ("z",)
    assert found.warning(path) == f"{path}: 1 rows name no video of the library: z"


def test_paths_count_from_the_folder_of_the_csv(tmp_path: Path):
    path = table(tmp_path, f"path,title\nfilms/a.mp4,A\n{tmp_path}/b.mp4,B\n")
    videos = {"one": tmp_path / "films" / "a.mp4", "two": tmp_path / "b.mp4"}
    assert read_metadata(path, videos).of == {"one": {"title": "A"}, "two": {"title": "B"}}


def test_cells_may_hold_what_ends_lines_elsewhere(tmp_path: Path):
    path = tmp_path / "videos.csv"
    path.write_bytes('video_id,title,note\r\na,x\u2028y\x0bz\x85w,"two\r\nlines"\r\n'.encode())
    assert read_metadata(path, {"a": Path("/a.mp4")}).of == {
        "a": {"title": "x\u2028y\x0bz\x85w", "note": "two\nlines"}
    }


def test_a_path_that_disagrees_with_the_id_is_reported(tmp_path: Path):
    rows = ["a,b.mp4,A", "b,b.mp4,B", "c,,C", "d,gone.mp4,D", " ,e.mp4,E", "x\x1b,a.mp4,X"]
    path = table(tmp_path, "\n".join(["video_id,path,title", *rows]))
    found = read_metadata(path, {name: tmp_path / f"{name}.mp4" for name in "abcde"})
    assert found.of == {name: {"title": name.upper()} for name in "abcde"}
    assert found.warning(path) == (
        f"{path}: 1 rows name no video of the library: x\\x1b; "
        "in 2 rows the path is not that of the video_id, and the video_id is used: a, d"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title\nx\n", "needs a column video_id or path; it has title"),
        ("video_id,title,title\na,x,y\n", "a name of its own"),
        ("video_id,title\na,x\na,y\n", "line 3: video 'a' comes twice"),
        ("video_id,a=b\na,x\n", "--where COLUMN=VALUE cannot name column 'a=b'"),
        ("video_id,title\na\n", "line 2: 1 cells, but 2 columns"),
        ("video_id,title\n,x\n", "line 2: neither video_id nor path"),
        ('video_id,title\na,"x\n', "not CSV"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, text: str, message: str):
    with pytest.raises(UserError) as caught:
        read_metadata(table(tmp_path, text), {"a": Path("/a.mp4")})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_file(tmp_path: Path):
    with pytest.raises(UserError):
        read_metadata(table(tmp_path, ""), {})
    with pytest.raises(UserError):
        read_metadata(tmp_path / "none.csv", {})


def test_ids_and_paths_of_two_normal_forms_are_the_same(tmp_path: Path):
    videos = {"cafe\u0301": tmp_path / "cafe\u0301.mp4", " a ": tmp_path / "a.mp4"}
    path = table(tmp_path, "video_id,title\ncaf\u00e9,T\n a ,A\n")
    assert read_metadata(path, videos).of == {"cafe\u0301": {"title": "T"}, " a ": {"title": "A"}}
    path = table(tmp_path, "path,title\ncaf\u00e9.mp4,T\na\u200d.mp4,A\n")
    found = read_metadata(path, videos)
    assert found.of == {"cafe\u0301": {"title": "T"}}
    assert found.unknown == ("a\u200d.mp4",)


@needs_data
def test_a_row_in_another_normal_form_than_the_file_name():
    found = read_metadata(DATA / "hard_inputs" / "metadata_nfc.csv", {"cafe\u0301": Path("/c.mp4")})
    assert found.of == {"cafe\u0301": {"title": "T"}}
    assert not found.unknown


def test_long_names_are_cut(tmp_path: Path):
    path = table(tmp_path, "video_id,title\n" + "x" * 100_000 + ",T\n")
    assert len(read_metadata(path, {"a": Path("/a")}).warning(path)) < 500


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
    """A film that was edited and whose id changed as well."""
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


def test_a_table_wins_over_the_metadata_in_the_library(tmp_path: Path) -> None:
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


def test_empty_and_shared_paths_replace_nothing() -> None:
    known = {name: payload(path) for name, path in (("a", "/x"), ("b", ""), ("c", "."))}
    renames = Renames(known, {"d": "/x", "e": "/x", "f": "", "g": "."})
    for path in ("/x", "", "."):
        assert renames.replaced_by(payload(path), new=True) == []


def test_a_video_replaces_only_what_is_clearly_the_same() -> None:
    known = {name: payload(f"/none/{name}", name[0]) for name in ("a1", "a2", "b", "c")}
    renames = Renames(known, {"n": "/new", "m": "/none/b", "c": "/none/c"})
    assert renames.replaced_by(payload("/new", "a"), new=True) == []  # two are alike
    assert renames.replaced_by(payload("/new", "b"), new=False) == []
    assert renames.replaced_by(payload("/none/b", "z"), new=False) == ["b"]
    assert renames.replaced_by(payload("/new", "b"), new=True) == []
    assert renames.replaced_by(payload("/other", "c"), new=True) == []  # the file still has it
