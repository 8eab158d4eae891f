import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from search.libraries import DIM, features, library, video

from dreamprvr.core.errors import UserError
from dreamprvr.search import rows as rows_module
from dreamprvr.search.edge_engine import EdgeEngine
from dreamprvr.search.engine import Record
from dreamprvr.search.library import Library
from dreamprvr.search.rows import RowStore, Sizes, sizes
from dreamprvr.search.untrained import UntrainedModel


class Cut(UntrainedModel):
    """A model of two sections of clips and registers."""

    section, clips, registers = 8, 2, 3


@pytest.fixture(autouse=True)
def everything_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "LONG", 0)


def payload(rows: int, digest: str = "0" * 32) -> dict[str, object]:
    return {"source": {"rows": rows, "digest": digest}}


def record(rows: int) -> Record:
    random = np.random.default_rng(rows)
    counts = sizes(payload(rows), Cut(DIM))
    parts = [random.standard_normal((count, DIM)).astype(np.float32) for count in counts]
    return Record("a", parts[0], parts[1], parts[1], parts[2], payload(rows))


def test_sizes() -> None:
    assert sizes(payload(8), Cut(DIM)) == Sizes(2, 8, 3)
    assert sizes(payload(9), Cut(DIM)) == Sizes(4, 9, 6)
    assert sizes(payload(200), UntrainedModel(DIM)) == Sizes(0, 200, 0)


@pytest.mark.parametrize("rows", [1, 9])
def test_what_is_written_is_read(tmp_path: Path, rows: int) -> None:
    store, video = RowStore(tmp_path, Cut(DIM)), record(rows)
    store.write([video])
    found = store.read("a", video.payload)
    assert found is not None
    for name in ("clips", "frames", "registers"):
        ours = getattr(found, name)
        np.testing.assert_array_equal(ours, getattr(video, name).astype(np.float16))
        assert ours.dtype == np.float32
    assert found.segments.shape == (0, DIM)
    (path,) = (tmp_path / "rows").iterdir()
    assert path.stat().st_size == 2 * DIM * sum(sizes(video.payload, Cut(DIM)))
    store.keep([video.payload])
    assert path.exists()
    store.keep([payload(rows, "1" * 32)])
    assert not path.exists()
    store.keep([])


def test_files_that_do_not_fit_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, video = RowStore(tmp_path, Cut(DIM)), record(9)
    store.write([video])
    (path,) = (tmp_path / "rows").iterdir()
    assert store.read("a", payload(8)) is None
    assert store.read("a", payload(9, "2" * 32)) is None
    for digest in ("", "../" + "0" * 32, "0" * 31 + "/"):
        assert store.read("a", payload(9, digest)) is None
        store.write([Record("a", *(video.frames,) * 4, payload(9, digest))])
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
    store = RowStore(tmp_path, UntrainedModel(DIM))
    monkeypatch.setattr(rows_module, "LONG", 9 * DIM)
    nothing = np.empty((0, DIM), np.float32)
    for count in (9, 10):
        frames = np.ones((count, DIM), np.float32)
        store.write(
            [Record("a", nothing, frames, nothing, nothing, payload(count, 32 * str(count)[0]))]
        )
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
