from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dreamprvr.core.errors import UserError
from dreamprvr.extraction.text_file import CaptionWords, TextFile, TextSettings, write_text_file
from dreamprvr.extraction.text_store import TextStore

SETTINGS = TextSettings("one", "ab12", 2)
OUTPUT = Path("out/t.hdf5")


def words(caption_id: str, text: str = "x", value: float = 0.0) -> CaptionWords:
    return CaptionWords(caption_id, text, np.full((2, 2), value, np.float32))


def contents() -> dict[str, float]:
    with TextFile(OUTPUT) as file:
        return {name: float(file[name][0, 0]) for name in file.keys()}  # noqa: SIM118


def test_parts_are_joined_with_what_was_there() -> None:
    write_text_file(OUTPUT, SETTINGS, [words("a", "x", 1), words("b", "x", 2)])
    with TextStore(OUTPUT, SETTINGS) as store:
        assert store.texts == {"a": "x", "b": "x"}
        store.add([words("b", "y", 3), words("c", "x", 4)])
        store.add([words("d", "x", 5)])
        assert contents() == {"a": 1, "b": 2}
        store.join()
        assert store.texts == {"a": "x", "b": "y", "c": "x", "d": "x"}
    assert contents() == {"a": 1, "b": 3, "c": 4, "d": 5}
    assert [path.name for path in OUTPUT.parent.iterdir()] == ["t.hdf5"]


def test_parts_survive_without_a_join_and_the_later_one_counts() -> None:
    for value in (1, 2):
        with TextStore(OUTPUT, SETTINGS) as store:
            store.add([words("a", str(value), value)])
    assert not OUTPUT.exists()
    with TextStore(OUTPUT, SETTINGS) as store:
        assert store.texts == {"a": "2"}
        store.join()
    assert contents() == {"a": 2}


def test_nothing_new_writes_nothing() -> None:
    write_text_file(OUTPUT, SETTINGS, [words("a")])
    before = OUTPUT.stat()
    with TextStore(OUTPUT, SETTINGS) as store:
        store.join()
    assert (OUTPUT.stat().st_ino, OUTPUT.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_another_encoder_is_refused() -> None:
    other = replace(SETTINGS, encoder="two", fingerprint="cd34")
    with TextStore(OUTPUT, SETTINGS) as store:
        store.add([words("a")])
    said = r"holds words of encoder one \(fingerprint ab12\), not of two \(cd34\): "
    with (
        pytest.raises(UserError, match=rf"000001\.hdf5 {said}an earlier run left it: delete"),
        TextStore(OUTPUT, other),
    ):
        pass
    with TextStore(OUTPUT, replace(SETTINGS, encoder="moved")) as store:
        store.join()
    with (
        pytest.raises(UserError, match=r"t\.hdf5 holds words of encoder moved .* give another -o"),
        TextStore(OUTPUT, other),
    ):
        pass
    assert [path.name for path in OUTPUT.parent.iterdir()] == ["t.hdf5"]


def test_something_else_is_not_overwritten() -> None:
    OUTPUT.parent.mkdir()
    OUTPUT.write_text("notes")
    with pytest.raises(UserError, match="is no HDF5 file"), TextStore(OUTPUT, SETTINGS):
        pass
    assert OUTPUT.read_text() == "notes"
