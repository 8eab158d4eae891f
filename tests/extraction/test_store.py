from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dreamprvr.core.errors import UserError
from dreamprvr.extraction.feature_file import (
    ExtractionSettings,
    FeatureFile,
    VideoFeatures,
    write_feature_file,
)
from dreamprvr.extraction.store import FeatureStore

SETTINGS = ExtractionSettings("one", "ab12", 2, 1.0, 1.0, 1.0)
OUTPUT = Path("out/f.hdf5")


def video(name: str, value: float = 0.0) -> VideoFeatures:
    rows = np.full((2, 2), value, np.float32)
    return VideoFeatures(name, rows, 0.0, 2.0, Path(f"/v/{name}.mp4"), 10, 20, "")


def contents() -> dict[str, float]:
    with FeatureFile.open(OUTPUT) as file:
        return {name: float(file.read(name).rows[0, 0]) for name in file.video_ids()}


def test_parts_are_joined_with_what_was_there() -> None:
    write_feature_file(OUTPUT, SETTINGS, [video("a", 1), video("b", 2)])
    with FeatureStore(OUTPUT, SETTINGS) as store:
        there = store.stored()
        there["b"] = store.add(video("b", 3))
        there["c/d".replace("/", "__")] = store.add(video("c__d", 4))
        assert contents() == {"a": 1, "b": 2}
        store.join(there)
        assert set(store.stored()) == {"a", "b", "c__d"}
    assert contents() == {"a": 1, "b": 3, "c__d": 4}
    assert [path.name for path in OUTPUT.parent.iterdir()] == ["f.hdf5"]


def test_parts_survive_without_a_join() -> None:
    with FeatureStore(OUTPUT, SETTINGS) as store:
        store.add(video("a", 1))
    assert not OUTPUT.exists()
    with FeatureStore(OUTPUT, SETTINGS) as store:
        there = store.stored()
        assert there["a"].record.path == Path("/v/a.mp4")
        store.join(there)
    assert contents() == {"a": 1}


def test_videos_get_other_ids_and_paths_or_are_dropped() -> None:
    write_feature_file(OUTPUT, SETTINGS, [video("a", 1), video("b", 2)])
    with FeatureStore(OUTPUT, SETTINGS) as store:
        old = store.stored()["a"]
        store.join({"z": replace(old, record=replace(old.record, path=Path("/w/z.mp4")))})
    assert contents() == {"z": 1}
    with FeatureFile.open(OUTPUT) as file:
        assert file.record("z").path == Path("/w/z.mp4")


def test_what_a_killed_run_left_half_written_is_tidied_up() -> None:
    parts = Path("out/f.hdf5.parts")
    parts.mkdir(parents=True)
    (parts / ".x.hdf5.123.partial").write_bytes(b"half")
    (parts / ".joined.123.partial").write_bytes(b"half")
    with FeatureStore(OUTPUT, SETTINGS) as store:
        assert store.stored() == {}
        store.add(video("a", 1))
        store.join(store.stored())
    assert [path.name for path in OUTPUT.parent.iterdir()] == ["f.hdf5"]


def test_other_settings_are_refused() -> None:
    other = replace(SETTINGS, fps=2.0)
    with FeatureStore(OUTPUT, SETTINGS) as store:
        store.add(video("a"))
    with (
        pytest.raises(UserError, match=r"was made with fps 1\.0, not 2\.0: an earlier run left it"),
        FeatureStore(OUTPUT, other),
    ):
        pass
    with FeatureStore(OUTPUT, SETTINGS) as store:
        store.join(store.stored())
    with (
        pytest.raises(UserError, match=r"f\.hdf5 was made with fps 1\.0, not 2\.0: give the same"),
        FeatureStore(OUTPUT, other),
    ):
        pass
    assert contents() == {"a": 0}


def test_something_else_is_not_overwritten() -> None:
    OUTPUT.parent.mkdir()
    OUTPUT.write_text("notes")
    with pytest.raises(UserError, match="is no HDF5 file"), FeatureStore(OUTPUT, SETTINGS):
        pass
    assert OUTPUT.read_text() == "notes"
    assert [path.name for path in OUTPUT.parent.iterdir()] == ["f.hdf5"]
