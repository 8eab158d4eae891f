from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from dreamprvr.core.errors import UserError
from dreamprvr.extraction import text_features
from dreamprvr.extraction.encoder import Encoder, QueryFeatures
from dreamprvr.extraction.text_features import extract_text, read_caption_files
from dreamprvr.extraction.text_file import TextFile

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
    assert line.endswith("s); word features are in text.hdf5")
    assert contents() == {f"v#enc#{i}": [[97, 48 + i], [98, 98]] for i in range(7)}


def test_again_it_encodes_only_what_is_new_or_changed() -> None:
    run(LetterEncoder())
    encoder = LetterEncoder()
    line, _ = run(encoder, {"v#enc#0": "a0 b", "v#enc#1": "z", "w#enc#0": "new"})
    assert encoder.read == ["z", "new"]
    assert ", 1 unchanged, 5 others kept; word features are in" in line
    assert contents()["v#enc#1"] == [[122, 122]]
    assert len(contents()) == 8
    assert run(LetterEncoder(), {"v#enc#0": "a0 b"})[0] == (
        "0 captions encoded, 1 unchanged, 7 others kept; word features are in text.hdf5"
    )


@pytest.mark.parametrize("part", [1, 40, 10**6])
def test_what_is_finished_survives_ctrl_c(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_captions_without_words_are_said() -> None:
    lines, complete = run(LetterEncoder(), {"v#enc#0": "", "v#enc#1": "a"})
    assert not complete
    assert lines.splitlines()[0] == "v#enc#0: failed: the encoder gave no words"
    assert lines.endswith(", 1 failed; word features are in text.hdf5")
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
