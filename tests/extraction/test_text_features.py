from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from data_modules.readers.features import open_features
from data_modules.readers.hdf5 import ATTRIBUTES_SUM
from dreamprvr.core.errors import UserError
from dreamprvr.extraction import text_features
from dreamprvr.extraction.encoder import Encoder, QueryFeatures
from dreamprvr.extraction.text_features import (
    CaptionWords,
    TextFile,
    TextOutput,
    TextSettings,
    extract_text,
    read_caption_files,
    write_text_file,
)

OUTPUT = Path("text.hdf5")


class LetterEncoder:
    """A word is its letters' codes: rows (first, last)."""

    name, fingerprint, video_dim, text_dim = "letters", "abc", 2, 2
    searches_untrained = False
    frames_per_window, fps, window, stride = 0, 1.0, 1.0, 1.0

    def __init__(self, stop_after: int = -1) -> None:
        self.read: list[str] = []
        self.left = stop_after

    def encode_windows(self, windows: Sequence[np.ndarray]) -> torch.Tensor:
        raise NotImplementedError

    def encode_query(self, text: str) -> QueryFeatures:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        self.read.append(text)
        rows = [[float(ord(word[0])), float(ord(word[-1]))] for word in text.split()]
        return QueryFeatures(torch.tensor(rows).reshape(-1, 2), None)


class BatchLetterEncoder(LetterEncoder):
    """The same, of several sentences."""

    def encode_queries(self, texts: Sequence[str]) -> list[QueryFeatures]:
        self.read.append(f"{len(texts)} at once")
        return [self.encode_query(text) for text in texts]


CAPTIONS = {f"v#enc#{i}": f"a{i} b" for i in range(7)}


def run(encoder: Encoder, captions: dict[str, str] = CAPTIONS, size: int = 2) -> tuple[str, bool]:
    lines, complete = extract_text(captions, encoder, OUTPUT, size, show_progress=False)
    return "\n".join(lines), complete


def contents() -> dict[str, list[list[float]]]:
    with TextFile(OUTPUT) as file:
        return {name: file[name].tolist() for name in file.keys()}  # noqa: SIM118


def test_each_caption_has_its_words() -> None:
    line, complete = run(LetterEncoder())
    assert complete
    assert line.startswith("7 captions encoded (0.")
    assert line.endswith("s); word features are in text.hdf5 (rows of 2 numbers)")
    assert contents() == {f"v#enc#{i}": [[97, 48 + i], [98, 98]] for i in range(7)}


def test_a_second_run_encodes_only_new_and_changed_captions() -> None:
    run(LetterEncoder())
    encoder = LetterEncoder()
    line, _ = run(encoder, {"v#enc#0": "a0 b", "v#enc#1": "z", "w#enc#0": "new"})
    assert encoder.read == ["z", "new"]
    assert ", 1 unchanged, 5 others kept; word features are in" in line
    assert contents()["v#enc#1"] == [[122, 122]]
    assert len(contents()) == 8
    assert run(LetterEncoder(), {"v#enc#0": "a0 b"})[0] == (
        "0 captions encoded, 1 unchanged, 7 others kept; word features are in text.hdf5 (rows of 2"
        " numbers)"
    )


@pytest.mark.parametrize("part", [1, 40, 10**6])
def test_finished_captions_survive_ctrl_c(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_features, "PART_BYTES", part)
    with pytest.raises(KeyboardInterrupt):
        run(LetterEncoder(stop_after=5))
    assert sorted(contents()) == [f"v#enc#{i}" for i in range(4)]  # two whole batches
    rest = LetterEncoder()
    run(rest)
    assert rest.read == ["a4 b", "a5 b", "a6 b"]
    assert contents() == {f"v#enc#{i}": [[97, 48 + i], [98, 98]] for i in range(7)}
    assert [path.name for path in Path.cwd().iterdir()] == ["text.hdf5"]


def test_encoders_that_read_several_at_once_do() -> None:
    encoder = BatchLetterEncoder()
    run(encoder, size=4)
    assert [line for line in encoder.read if "at once" in line] == ["4 at once", "3 at once"]


def test_captions_without_words_are_reported() -> None:
    lines, complete = run(LetterEncoder(), {"v#enc#0": "", "v#enc#1": "a"})
    assert not complete
    assert lines.splitlines()[0] == "v#enc#0: failed: the encoder gave no words"
    assert lines.endswith(", 1 failed; word features are in text.hdf5 (rows of 2 numbers)")
    OUTPUT.unlink()
    assert run(LetterEncoder(), {"v#enc#0": ""})[0].endswith("\n0 captions encoded, 1 failed")
    assert not OUTPUT.exists()


def test_refusals() -> None:
    silent = LetterEncoder()
    silent.text_dim = 0
    with pytest.raises(UserError, match=r"^encoder letters reads no text: take the words of one"):
        run(silent)
    with pytest.raises(UserError, match=r"^--batch_size is 0"):
        run(LetterEncoder(), size=0)
    broken = LetterEncoder()
    broken.text_dim = 3
    with pytest.raises(UserError, match=r"words of shape \(2, 2\), not \(words, 3\)"):
        run(broken)
    assert list(Path.cwd().iterdir()) == []


def test_caption_files() -> None:
    Path("a.txt").write_text("\u00e4#enc#0 a  b \nv#enc#1 \u2028x\n", encoding="utf-8")
    Path("b.txt").write_text("v#enc#1 \u2028x\nw#enc#0 c\n", encoding="utf-8")
    found = read_caption_files([Path("a.txt"), Path("b.txt")])
    assert list(found.items()) == [
        ("\u00e4#enc#0", "a  b "), ("v#enc#1", "\u2028x"), ("w#enc#0", "c"),
    ]  # fmt: skip
    Path("c.txt").write_text("w#enc#0 d\n")
    with pytest.raises(UserError, match=r"^c\.txt: caption 'w#enc#0' has another text in another"):
        read_caption_files([Path("b.txt"), Path("c.txt")])
    Path("d.txt").write_text("v/w#enc#0 d\n")
    with pytest.raises(UserError, match=r"^d\.txt: caption id 'v/w#enc#0' names no dataset"):
        read_caption_files([Path("d.txt")])


ONE = TextSettings("one", "ab12", 3)
WRITTEN = [
    CaptionWords("a#enc#0", "a  dog", np.arange(6, dtype=np.float32).reshape(2, 3)),
    CaptionWords("\u00e4 b#enc#10", "", np.ones((1, 3), np.float32)),
]


def test_written_captions_are_read_back() -> None:
    write_text_file(OUTPUT, ONE, iter(WRITTEN))
    with TextFile(OUTPUT) as file:
        assert file.settings == ONE
        for caption_id, text, rows in WRITTEN:
            assert file.text(caption_id) == text
            np.testing.assert_array_equal(file[caption_id], rows)


def test_training_reads_the_same_file() -> None:
    write_text_file(OUTPUT, ONE, WRITTEN)
    store = open_features(OUTPUT)
    assert (store.dim, store.fingerprint) == (3, "ab12")
    assert sorted(store.keys()) == [caption.caption_id for caption in WRITTEN]
    np.testing.assert_array_equal(store["a#0"], WRITTEN[0].rows)


@pytest.mark.parametrize(("name", "value"), [("format", "other"), ("version", 2)])
def test_another_file_is_refused(name: str, value: object) -> None:
    write_text_file(OUTPUT, ONE, WRITTEN)
    with h5py.File(OUTPUT, "r+") as file:
        file.attrs[name] = value
        del file.attrs[ATTRIBUTES_SUM]
    with pytest.raises(UserError, match=r"^text\.hdf5 holds no word features of this version"):
        TextFile(OUTPUT)


@pytest.mark.parametrize("name", ["version", "encoder", "fingerprint", "text_dim"])
def test_missing_attributes_are_reported_in_one_line(name: str) -> None:
    write_text_file(OUTPUT, ONE, WRITTEN)
    with h5py.File(OUTPUT, "r+") as file:
        del file.attrs[name], file.attrs[ATTRIBUTES_SUM]
        del file["a#enc#0"].attrs[ATTRIBUTES_SUM]
        del file["a#enc#0"].attrs["text"]
    with pytest.raises(UserError, match=r"^text\.hdf5: cannot read its encoder"):
        TextFile(OUTPUT)
    with h5py.File(OUTPUT, "r+") as file:
        file.attrs[name] = 1
    with TextFile(OUTPUT) as found, pytest.raises(UserError, match="cannot read 'a#enc#0'"):
        found.text("a#enc#0")


TWO = TextSettings("one", "ab12", 2)


def words(caption_id: str, text: str = "x", value: float = 0.0) -> CaptionWords:
    return CaptionWords(caption_id, text, np.full((2, 2), value, np.float32))


def first_numbers() -> dict[str, float]:
    with TextFile(OUTPUT) as file:
        return {name: float(file[name][0, 0]) for name in file.keys()}  # noqa: SIM118


def test_parts_are_joined_with_what_was_there() -> None:
    write_text_file(OUTPUT, TWO, [words("a", "x", 1), words("b", "x", 2)])
    with TextOutput(OUTPUT, TWO) as store:
        assert store.texts == {"a": "x", "b": "x"}
        store.add([words("b", "y", 3), words("c", "x", 4)])
        store.add([words("d", "x", 5)])
        assert first_numbers() == {"a": 1, "b": 2}
        store.join()
        assert store.texts == {"a": "x", "b": "y", "c": "x", "d": "x"}
    assert first_numbers() == {"a": 1, "b": 3, "c": 4, "d": 5}
    assert [path.name for path in OUTPUT.parent.iterdir()] == ["text.hdf5"]


def test_parts_survive_without_a_join_and_the_later_one_counts() -> None:
    for value in (1, 2):
        with TextOutput(OUTPUT, TWO) as store:
            store.add([words("a", str(value), value)])
    assert not OUTPUT.exists()
    with TextOutput(OUTPUT, TWO) as store:
        assert store.texts == {"a": "2"}
        store.join()
    assert first_numbers() == {"a": 2}


def test_nothing_new_writes_nothing() -> None:
    write_text_file(OUTPUT, TWO, [words("a")])
    before = OUTPUT.stat()
    with TextOutput(OUTPUT, TWO) as store:
        store.join()
    assert (OUTPUT.stat().st_ino, OUTPUT.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_another_encoder_is_refused() -> None:
    other = replace(TWO, encoder="two", fingerprint="cd34")
    with TextOutput(OUTPUT, TWO) as store:
        store.add([words("a")])
    said = r"holds words of encoder one \(fingerprint ab12\), not of two \(cd34\): "
    with (
        pytest.raises(UserError, match=rf"000001\.hdf5 {said}an earlier run left it: delete"),
        TextOutput(OUTPUT, other),
    ):
        pass
    with TextOutput(OUTPUT, replace(TWO, encoder="moved")) as store:
        store.join()
    with (
        pytest.raises(
            UserError, match=r"text\.hdf5 holds words of encoder moved .* give another -o"
        ),
        TextOutput(OUTPUT, other),
    ):
        pass
    assert [path.name for path in OUTPUT.parent.iterdir()] == ["text.hdf5"]


def test_something_else_is_not_overwritten() -> None:
    OUTPUT.write_text("notes")
    with (
        pytest.raises(UserError, match="is a text file, not an HDF5 file"),
        TextOutput(OUTPUT, TWO),
    ):
        pass
    assert OUTPUT.read_text() == "notes"
