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
from dreamprvr.extraction.output import FeatureOutput, Output

SETTINGS = ExtractionSettings("one", "ab12", 2, 1.0, 1.0, 1.0)
OUTPUT = Path("out/f.hdf5")


def video(name: str, value: float = 0.0) -> VideoFeatures:
    rows = np.full((2, 2), value, np.float32)
    return VideoFeatures(name, 0.0, 2.0, Path(f"/v/{name}.mp4"), 10, 20, rows=rows)


def contents() -> dict[str, float]:
    with FeatureFile(OUTPUT) as file:
        return {name: float(file.read(name).rows[0, 0]) for name in file.video_ids()}


def test_parts_are_joined_with_what_was_there() -> None:
    write_feature_file(OUTPUT, SETTINGS, [video("a", 1), video("b", 2)])
    with FeatureOutput(OUTPUT, SETTINGS) as store:
        there = store.stored()
        there["b"] = store.add(video("b", 3))
        there["c/d".replace("/", "__")] = store.add(video("c__d", 4))
        assert contents() == {"a": 1, "b": 2}
        store.join(there)
        assert set(store.stored()) == {"a", "b", "c__d"}
    assert contents() == {"a": 1, "b": 3, "c__d": 4}
    assert [path.name for path in OUTPUT.parent.iterdir()] == ["f.hdf5"]


def test_parts_survive_without_a_join() -> None:
    with FeatureOutput(OUTPUT, SETTINGS) as store:
        store.add(video("a", 1))
    assert not OUTPUT.exists()
    with FeatureOutput(OUTPUT, SETTINGS) as store:
        there = store.stored()
        assert there["a"].record.path == Path("/v/a.mp4")
        store.join(there)
    assert contents() == {"a": 1}


def test_videos_get_other_ids_and_paths_or_are_dropped() -> None:
    write_feature_file(OUTPUT, SETTINGS, [video("a", 1), video("b", 2)])
    with FeatureOutput(OUTPUT, SETTINGS) as store:
        old = store.stored()["a"]
        store.join({"z": replace(old, record=replace(old.record, path=Path("/w/z.mp4")))})
    assert contents() == {"z": 1}
    with FeatureFile(OUTPUT) as file:
        assert file.record("z").path == Path("/w/z.mp4")


def test_other_settings_are_refused() -> None:
    other = replace(SETTINGS, fps=2.0)
    with FeatureOutput(OUTPUT, SETTINGS) as store:
        store.add(video("a"))
    with (
        pytest.raises(UserError, match=r"was made with fps 1\.0, not 2\.0: an earlier run left it"),
        FeatureOutput(OUTPUT, other),
    ):
        pass
    with FeatureOutput(OUTPUT, SETTINGS) as store:
        store.join(store.stored())
    with (
        pytest.raises(UserError, match=r"f\.hdf5 was made with fps 1\.0, not 2\.0: give the same"),
        FeatureOutput(OUTPUT, other),
    ):
        pass
    assert contents() == {"a": 0}


def test_something_else_is_not_overwritten() -> None:
    OUTPUT.parent.mkdir()
    OUTPUT.write_text("notes")
    with (
        pytest.raises(UserError, match="is a text file, not an HDF5 file"),
        FeatureOutput(OUTPUT, SETTINGS),
    ):
        pass
    assert OUTPUT.read_text() == "notes"
    assert [path.name for path in OUTPUT.parent.iterdir()] == ["f.hdf5"]


def test_the_folder_of_parts_stays_only_with_parts_in_it() -> None:
    with Output(OUTPUT, "extract") as output:
        (output.parts / f"{1:032x}.hdf5").write_bytes(b"")
    assert output.part_files() == [Path("out/f.hdf5.parts") / f"{1:032x}.hdf5"]
    with output:
        output.part_files()[0].unlink()
    assert list(OUTPUT.parent.iterdir()) == []


def test_half_written_files_of_a_killed_run_are_deleted() -> None:
    output = Output(OUTPUT, "extract")
    output.parts.mkdir(parents=True)
    for name in (".x.hdf5.123.partial", ".joined.123.partial", "joined"):
        (output.parts / name).write_bytes(b"half")
    with output:
        assert [path.name for path in output.parts.iterdir()] == [".lock"]


def test_a_second_run_is_refused_and_leaves_the_first_its_lock() -> None:
    message = (
        r"^another `lightning extract-text` is writing out/f.hdf5: wait for it, or give another -o$"
    )
    with Output(OUTPUT, "extract"):
        for _ in range(2):
            with pytest.raises(UserError, match=message), Output(OUTPUT, "extract-text"):
                pass
    with Output(OUTPUT, "extract-text"):
        pass


def test_a_folder_of_parts_that_cannot_be_made() -> None:
    Path("out").write_text("")
    with pytest.raises(UserError, match=r"^cannot write out/f.hdf5.parts"), Output(OUTPUT, "x"):
        pass
