from pathlib import Path

import numpy as np
import pytest
from search.libraries import DIM, library, video

from dreamprvr.core.errors import UserError
from dreamprvr.search import lookup
from dreamprvr.search.edge_engine import EdgeEngine
from dreamprvr.search.engine import Record
from dreamprvr.search.lookup import look_up
from dreamprvr.search.rows import RowStore
from dreamprvr.search.untrained import UntrainedModel

NAMES = ["v3", "v0", "nobody", "v4", "v1", "v2"]


@pytest.fixture
def engine(tmp_path: Path) -> EdgeEngine:
    library(tmp_path, *(video(f"v{number}", rows=10) for number in range(5))).close()
    return EdgeEngine(tmp_path / "library" / "engine", DIM)


@pytest.mark.parametrize("own", [(), ("v0",), ("v3", "v2"), ("v0", "v1", "v2", "v3", "v4")])
def test_in_the_order_asked_and_few_at_once(
    engine: EdgeEngine, tmp_path: Path, own: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two videos are what may be asked of the engine at once."""
    monkeypatch.setattr(lookup, "FETCHED", 2 * 10 * DIM)
    monkeypatch.setattr("dreamprvr.search.rows.LONG", 0)
    model, fetched = UntrainedModel(DIM), []
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
        np.testing.assert_array_equal(record.frames, expected.frames)
    assert [r.video_id for r in look_up(engine, model, None, ["v1"])] == ["v1"]
    engine.close()


def test_other_vectors_than_were_indexed(engine: EdgeEngine) -> None:
    class Registers(UntrainedModel):
        registers = 1

    with pytest.raises(UserError, match="video 'v1' has other vectors than were indexed"):
        list(look_up(engine, Registers(DIM), None, ["v1"]))
    engine.close()
