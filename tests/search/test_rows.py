"""The vectors of videos that were found."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from search.checkpoints import network
from search.libraries import DIM, engine_of, features, library, video

from dreamprvr.core.errors import UserError
from dreamprvr.search import rows as rows_module
from dreamprvr.search.encoding import SearchModel, Untrained
from dreamprvr.search.engine.edge import EdgeEngine
from dreamprvr.search.engine.interface import Record
from dreamprvr.search.library import Library
from dreamprvr.search.rows import RowStore, look_up

CUT = SearchModel(network())  # sections of 8 frames, with 4 clips and 2 registers
FRAMES = SearchModel(Untrained(DIM))


@pytest.fixture(autouse=True)
def everything_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "LONG", 0)


def payload(rows: int, digest: str = "0" * 32) -> dict[str, object]:
    return {"source": {"rows": rows, "digest": digest}}


def record(rows: int) -> Record:
    random = np.random.default_rng(rows)
    parts = {
        name: random.standard_normal(shape).astype(np.float32)
        for name, shape in CUT.shapes_of(rows).items()
    }
    tokens = {name: parts[name] for name in ("clips", "frames")}
    extras = {"registers": parts["registers"]}
    return Record("a", tokens, parts["frames"], extras, payload(rows))


@pytest.mark.parametrize("rows", [1, 9])
def test_a_file_of_rows_is_read_as_it_was_written(tmp_path: Path, rows: int) -> None:
    store, video = RowStore(tmp_path, CUT), record(rows)
    store.write([video])
    found = store.read("a", video.payload)
    assert found is not None
    for ours, theirs in ((found.tokens, video.tokens), (found.extras, video.extras)):
        assert list(ours) == list(theirs)
        for name, part in ours.items():
            np.testing.assert_array_equal(part, theirs[name].astype(np.float16))
            assert part.dtype == np.float32
    assert found.segments.shape == (0, 16)
    (path,) = (tmp_path / "rows").iterdir()
    assert path.stat().st_size == 2 * sum(np.prod(s) for s in CUT.shapes_of(rows).values())
    store.keep([video.payload])
    assert path.exists()
    store.keep([payload(rows, "1" * 32)])
    assert not path.exists()
    store.keep([])


def test_files_that_do_not_fit_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, video = RowStore(tmp_path, CUT), record(9)
    store.write([video])
    (path,) = (tmp_path / "rows").iterdir()
    assert store.read("a", payload(8)) is None
    assert store.read("a", payload(9, "2" * 32)) is None
    for digest in ("", "../" + "0" * 32, "0" * 31 + "/"):
        assert store.read("a", payload(9, digest)) is None
        store.write([replace(video, payload=payload(9, digest))])
    assert list((tmp_path / "rows").iterdir()) == [path]
    other = path.rename(tmp_path / "other")
    path.symlink_to(other)
    assert store.read("a", payload(9)) is None
    path.unlink()
    os.truncate(other, 10)
    other.rename(path)
    assert store.read("a", payload(9)) is None
    monkeypatch.setattr(rows_module, "LONG", 10**6)
    assert store.read("a", payload(9)) is None


def test_short_videos_have_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = RowStore(tmp_path, FRAMES)
    monkeypatch.setattr(rows_module, "LONG", 9 * DIM)
    nothing = np.empty((0, DIM), np.float32)
    for count in (9, 10):
        frames = np.ones((count, DIM), np.float32)
        record = Record("a", {"frames": frames}, nothing, {}, payload(count, 32 * str(count)[0]))
        store.write([record])
    assert [path.stem for path in (tmp_path / "rows").iterdir()] == ["1" * 32]


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Library]:
    with library(tmp_path, *(video(name, dog=i) for i, name in enumerate("abc"))) as opened:
        yield opened


def test_a_search_reads_no_vectors_from_the_engine(
    made: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []
    fetch = EdgeEngine.fetch

    def watched(engine: EdgeEngine, video_ids: list[str]) -> list[Record]:
        fetched.extend(video_ids)
        return fetch(engine, video_ids)

    monkeypatch.setattr(EdgeEngine, "fetch", watched)
    files = list((made.path / "rows").iterdir())
    assert len(files) == 3
    before = made.search("dog").hits
    assert fetched == []
    for file in files:
        file.unlink()
    assert made.search("dog").hits == before  # rounded alike
    assert sorted(fetched) == ["a", "b", "c"]


def test_files_follow_the_videos(made: Library, tmp_path: Path) -> None:
    files = {path.name for path in (made.path / "rows").iterdir()}
    changed = features(tmp_path / "new.hdf5", [video("a", seed=1), video("d")])
    made.update(changed)
    after = {path.name for path in (made.path / "rows").iterdir()}
    assert (len(after), len(after & files)) == (4, 2)
    made.delete(["b"])
    assert len(list((made.path / "rows").iterdir())) == 3
    made.update(changed, prune=True)
    assert len(list((made.path / "rows").iterdir())) == 2
    assert [hit.video.video_id for hit in made.search("dog").hits] in (["a", "d"], ["d", "a"])


def test_a_file_is_there_before_the_engine_hears_of_it(
    made: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(engine: EdgeEngine, records: object) -> None:
        assert len(list((made.path / "rows").iterdir())) == 4
        raise UserError("killed")

    path = features(tmp_path / "new.hdf5", [video("d", dog=4)])
    with monkeypatch.context() as patch:
        patch.setattr(EdgeEngine, "upsert", fails)
        with pytest.raises(UserError, match="killed"):
            made.update(path)
    assert len(made.search("dog").hits) == 3
    made.update(path)
    assert len(made.search("dog").hits) == 4


NAMES = ["v3", "v0", "nobody", "v4", "v1", "v2"]


@pytest.fixture
def engine(tmp_path: Path) -> EdgeEngine:
    library(tmp_path, *(video(f"v{number}", rows=10) for number in range(5))).close()
    return EdgeEngine(engine_of(tmp_path / "library"), lambda: FRAMES.layout)


@pytest.mark.parametrize("own", [(), ("v0",), ("v3", "v2"), ("v0", "v1", "v2", "v3", "v4")])
def test_videos_are_looked_up_in_order_and_a_few_at_a_time(
    engine: EdgeEngine, tmp_path: Path, own: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most two videos are requested from the engine at once."""
    monkeypatch.setattr(rows_module, "FETCHED", 2 * 10 * DIM)
    monkeypatch.setattr("dreamprvr.search.rows.LONG", 0)
    model, fetched = FRAMES, []
    store = RowStore(tmp_path, model)
    store.write(engine.fetch(own))
    fetch = engine.fetch

    def watched(video_ids: list[str]) -> list[Record]:
        fetched.append(list(video_ids))
        return fetch(video_ids)

    monkeypatch.setattr(engine, "fetch", watched)
    found = list(look_up(engine, model, store, NAMES))
    assert [record.video_id for record in found] == [name for name in NAMES if name != "nobody"]
    assert sorted(name for names in fetched for name in names) == sorted(
        {"v0", "v1", "v2", "v3", "v4"} - set(own)
    )
    assert max(map(len, fetched), default=1) <= 2
    for record, expected in zip(found, fetch([r.video_id for r in found]), strict=True):
        np.testing.assert_array_equal(record.tokens["frames"], expected.tokens["frames"])
    assert [r.video_id for r in look_up(engine, model, None, ["v1"])] == ["v1"]
    engine.close()


def test_vectors_of_other_shapes_are_refused(engine: EdgeEngine) -> None:
    class Longer(SearchModel):
        def shapes_of(self, rows: int) -> dict[str, tuple[int, int]]:
            return {"frames": (rows + 1, DIM)}

    with pytest.raises(UserError, match="video 'v1' has vectors of wrong shapes"):
        list(look_up(engine, Longer(Untrained(DIM)), None, ["v1"]))
    engine.close()
