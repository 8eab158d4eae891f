"""A library from its creation to its deletion."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import h5py
import pytest
from search.libraries import SETTINGS, engine_of, features, library, video

from data_modules.readers.hdf5 import ATTRIBUTES_SUM, ROWS_SUM
from dreamprvr.core.errors import UserError
from dreamprvr.evaluation.moments import MomentRule
from dreamprvr.search.engine.edge import EdgeEngine
from dreamprvr.search.library import Library

CSV = "video_id,title,tags\na,First,cooking;home\nb,Second,garden\n"


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the videos whose vectors were written, in order."""
    found: list[str] = []
    write = EdgeEngine.upsert

    def upsert(engine: EdgeEngine, records: Any) -> None:
        found.extend(record.video_id for record in records)
        write(engine, records)

    monkeypatch.setattr(EdgeEngine, "upsert", upsert)
    return found


def test_the_right_video_and_second(tmp_path: Path) -> None:
    videos = [video("a", dog=7), video("b", cat=3, rows=30), video("c")]
    with library(tmp_path, *videos) as made:
        result = made.search("a cat")
    assert result.hits[0].video.video_id == "b"
    assert [hit.rank for hit in result.hits] == [1, 2, 3]
    assert result.searched == 3
    assert result.query == "a cat"
    assert result.seconds > 0
    best = result.hits[0].moments[0]
    assert best.start <= 3 < best.peak < 6 <= best.end
    assert best.end - best.start < 8


def test_the_rule_of_moments_can_be_given(tmp_path: Path) -> None:
    library(tmp_path, video("a", rows=100, dog=40)).close()
    rule = MomentRule(shortest=20.0)
    with Library.open(tmp_path / "library", rule=rule) as opened:
        best = opened.search("dog").hits[0].moments[0]
    assert best.end - best.start == 20


def test_filters(tmp_path: Path) -> None:
    with library(tmp_path, video("a", dog=7), video("b", dog=3), metadata=CSV) as made:
        found = made.search("dog", where={"tags": "garden"})
        assert [hit.video.title for hit in found.hits] == ["Second"]
        assert found.searched == 1
        assert [v.video_id for v in made.videos({"tags": ["cooking", "none"]})] == ["a"]
        tags = ["cooking", "garden", "home"]
        assert made.columns() == {"tags": tags, "title": ["First", "Second"]}


def test_it_opens_again(tmp_path: Path) -> None:
    library(tmp_path, video("a", dog=7), video("b", dog=3)).close()
    with Library.open(tmp_path / "library") as again, Library.open(tmp_path / "library") as other:
        assert [v.video_id for v in again.videos()] == ["a", "b"]
        found = again.video("b")
        assert found is not None
        assert (found.path, found.duration) == (Path("/films/b.mp4"), video("b").duration)
        assert again.video("c") is None
        assert again.search("dog").hits == other.search("dog").hits


def test_only_what_changed_is_written(tmp_path: Path, written: list[str]) -> None:
    with library(tmp_path, video("a"), video("b"), video("c"), metadata=CSV) as made:
        assert written == ["a", "b", "c"]
        moved = dataclasses.replace(video("a"), path=Path("/elsewhere/a.mp4"), mtime_ns=6)
        path = features(tmp_path / "new.hdf5", [moved, video("b", seed=1), video("d")])
        report = made.update(path)
        assert written[3:] == ["b", "d"]
        assert (report.added, report.changed, report.described) == (["d"], ["b"], ["a"])
        assert (report.unchanged, report.removed) == ([], [])
        assert {v.video_id for v in made.videos()} == {"a", "b", "c", "d"}
        found = made.video("a")
        assert found is not None
        assert found.path == Path("/elsewhere/a.mp4")
        assert found.metadata == {"title": "First", "tags": ["cooking", "home"]}
        (record,) = made._session.engine.fetch(["b"])
        assert len(record.tokens["frames"]) == len(video("b", seed=1).rows)
        again = made.update(path)
        assert (again.unchanged, written[5:]) == (["a", "b", "d"], [])


def test_new_metadata_encodes_nothing(tmp_path: Path, written: list[str]) -> None:
    with library(tmp_path, video("a"), video("b"), video("c"), metadata=CSV) as made:
        table = tmp_path / "new.csv"
        table.write_text("video_id,title\na,Other\nb,Second\nnobody,X\n")
        report = made.update(tmp_path / "features.hdf5", table)
        assert (report.described, report.unchanged) == (["a", "b"], ["c"])
        assert "1 rows name no video of the library: nobody" in report.warnings[0]
        table.write_text("video_id,title\na,Third\n")
        assert made.set_metadata(table).described == ["a"]
        assert [v.title for v in made.videos()] == ["Third", "Second", "c"]
        assert len(written) == 3


def test_metadata_reaches_videos_that_the_feature_file_lacks(tmp_path: Path) -> None:
    with library(tmp_path, video("a"), video("b")) as made:
        table = tmp_path / "new.csv"
        table.write_text(CSV)
        report = made.update(features(tmp_path / "b.hdf5", [video("b")]), table)
        assert sorted(report.described) == ["a", "b"]
        assert [v.title for v in made.videos()] == ["First", "Second"]


def test_removed_videos_are_gone(tmp_path: Path) -> None:
    with library(tmp_path, *(video(name, dog=3) for name in "abcd")) as made:
        assert made.delete(["a", "nobody"]) == ["a"]
        assert {hit.video.video_id for hit in made.search("dog").hits} == {"b", "c", "d"}
        path = features(tmp_path / "new.hdf5", [video("b", dog=3)])
        assert made.update(path).removed == []
        assert made.update(path, prune=True).removed == ["c", "d"]
        assert [v.video_id for v in made.videos()] == ["b"]
        made.compact()
        assert [hit.video.video_id for hit in made.search("dog").hits] == ["b"]


def test_progress_is_printed_and_written(tmp_path: Path) -> None:
    with library(tmp_path, video("a")) as made:
        told, noted = [], []

        def progress(done: int, total: int, name: str) -> None:
            told.append((done, total, name))
            note = made.path / "progress.json"
            noted.append(json.loads(note.read_text())["total"] if note.exists() else None)

        made.update(features(tmp_path / "new.hdf5", [video("a"), video("b")]), progress=progress)
        assert told == [(0, 2, "a"), (1, 2, "b"), (2, 2, "")]
        assert noted[-1] == 2
        assert not (made.path / "progress.json").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fingerprint": "e" * 64}, "fingerprint f+, not e+"),
        ({"encoder": "other", "fingerprint": "e" * 64}, "encoder words, not other"),
        ({"stride": 2.0}, "stride 1.0, not 2.0"),
        ({"fps": 2.0}, "fps 1.0, not 2.0"),
    ],
)
def test_other_features_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    settings = dataclasses.replace(SETTINGS, **change)
    path = features(tmp_path / "other.hdf5", [video("b")], settings)
    with library(tmp_path, video("a")) as made:
        with pytest.raises(UserError, match=rf"other.hdf5 does not fit library .*{message}"):
            made.update(path)
        assert [v.video_id for v in made.videos()] == ["a"]


def test_it_is_written_while_another_has_it_open(tmp_path: Path) -> None:
    with library(tmp_path, video("a")) as made, Library.open(made.path) as other:
        assert other.renewed() is None
        made.update(features(tmp_path / "more.hdf5", [video("a"), video("b")]))
        assert (len(made.search("dog").hits), len(other.search("dog").hits)) == (2, 1)
        with other.renewed() as newer:  # type: ignore[union-attr]
            assert len(newer.search("dog").hits) == 2
        assert other.delete(["b"]) == ["b"]  # a writer begins with what is there now
        assert len(other.videos()) == 1


def test_a_closed_library_cannot_be_used(tmp_path: Path) -> None:
    made = library(tmp_path, video("a"))
    made.close()
    made.close()
    with pytest.raises(UserError, match="is closed"):
        made.search("dog")
    with Library.open(made.path) as again:
        again.compact()  # nobody holds it any more


def test_a_damaged_engine(tmp_path: Path) -> None:
    library(tmp_path, video("a")).close()
    (engine_of(tmp_path / "library") / "edge_config.json").write_text("{")
    with pytest.raises(UserError, match=r"engine-1 cannot be read .*index again"):
        Library.open(tmp_path / "library")


def test_a_video_of_another_id_than_unicode(tmp_path: Path) -> None:
    path = features(tmp_path / "odd.hdf5", [video("b")])
    with h5py.File(path, "r+") as file:
        file[b"caf\xe9"] = file["b"]
        del file["b"].attrs[ATTRIBUTES_SUM], file["b"].attrs[ROWS_SUM]
    with library(tmp_path, video("b")) as made:
        with pytest.raises(UserError, match="is not Unicode text: rename the file"):
            made.update(path)
        assert [v.video_id for v in made.videos()] == ["b"]


def test_seconds_come_back_as_they_went_in(tmp_path: Path) -> None:
    """Or indexing again would find that every such video has changed."""
    durations = [24.0 + number / 7 + 1 / 3 for number in range(60)]
    videos = [
        dataclasses.replace(video(f"v{i}", rows=20), start=duration / 99, duration=duration)
        for i, duration in enumerate(durations)
    ]
    with library(tmp_path, *videos) as made:
        again = made.update(tmp_path / "features.hdf5")
        assert (again.described, len(again.unchanged)) == ([], 60)
        found = {one.video_id: one.duration for one in made.videos()}
    assert found == {f"v{i}": round(duration, 6) for i, duration in enumerate(durations)}


@pytest.fixture
def films(tmp_path: Path) -> Path:
    return features(tmp_path / "features.hdf5", [video("a", dog=7)])


def test_files_of_an_interrupted_creation_are_replaced(tmp_path: Path, films: Path) -> None:
    made = tmp_path / "library"
    Library.create(made, films).close()
    (made / "library.json").unlink()
    (made / "model.ckpt").write_text("half")
    with Library.create(made, films) as again:
        assert again.update(films).added == ["a"]
    assert not (made / "model.ckpt").exists()


def test_a_library_is_not_made_twice(tmp_path: Path, films: Path) -> None:
    library(tmp_path, video("a")).close()
    with pytest.raises(UserError, match="is a library already"):
        Library.create(tmp_path / "library", films)


def test_other_files_are_left_alone(tmp_path: Path, films: Path) -> None:
    made = tmp_path / "library"
    made.mkdir()
    (made / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="name a new folder"):
        Library.create(made, films)
    assert [entry.name for entry in made.iterdir()] == ["thesis.txt"]


def test_a_file_in_the_way(tmp_path: Path, films: Path) -> None:
    (tmp_path / "library").write_text("")
    with pytest.raises(UserError, match="library"):
        Library.create(tmp_path / "library", films)


@pytest.mark.parametrize("engine", ["other", "", "ftp://x", "file:///x"])
def test_unknown_engines(tmp_path: Path, films: Path, engine: str) -> None:
    with pytest.raises(UserError, match="http"):
        Library.create(tmp_path / "library", films, engine=engine)


def test_features_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is missing"):
        Library.create(tmp_path / "library", tmp_path / "none.hdf5")
    assert not (tmp_path / "library").exists()
