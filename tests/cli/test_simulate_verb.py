import json
import zlib
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest
from cli.running import DATA, refused, run

from data_modules.generation import text_encoder
from data_modules.generation.simulated_video import Simulation
from data_modules.generation.text_encoder import TextEncoder
from data_modules.readers.captions import read_captions
from data_modules.readers.tables import read_tables
from dreamprvr.cli import simulate_verb

SIMULATE = ("data", "simulate", "--data", DATA, "--data.root", "sim", "--annotations")
CSV = ("--durations", "one.csv", "two.csv")


class WordEncoder:
    """Stands in for a sentence encoder: a fixed random vector a word."""

    dim = 8

    def __init__(self, name: str) -> None:
        self.name = name

    def encode(self, sentences: Sequence[str], progress: bool = True) -> list[np.ndarray]:
        return [np.stack([self._vector(word) for word in text.split()]) for text in sentences]

    def _vector(self, word: str) -> np.ndarray:
        rng = np.random.default_rng(zlib.crc32(word.encode()))
        return rng.standard_normal(self.dim).astype("f4")


@pytest.fixture(autouse=True)
def _files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Annotations of each benchmark in the working directory, and no real encoder."""
    monkeypatch.setattr(text_encoder, "TextEncoder", WordEncoder)
    entry = {"timestamps": [[1, 4]], "sentences": ["a man runs"]}
    activitynet = {f"v_{i}": {"duration": 10.0 + i, **entry} for i in range(5)}
    Path("all.json").write_text(json.dumps(activitynet))
    for name, prefix in (("one", "A"), ("two", "B")):
        lines = [f"{prefix}{i} 2.0 {6 + i}.0##a dog opens the door" for i in range(3)]
        Path(f"{name}.txt").write_text("\n".join(lines) + "\n")
        rows = [f"{prefix}{i},{20 + i}.0" for i in range(3)]
        Path(f"{name}.csv").write_text("\n".join(["id,length", *rows]) + "\n")
        tvr = {"desc_id": 1, "vid_name": prefix, "desc": "x y", "ts": [0, 3], "duration": 9.0}
        Path(f"{name}.jsonl").write_text(json.dumps(tvr) + "\n")


def names(split: str) -> set[str]:
    captions = read_captions(Path(f"sim/tiny/TextData/tiny{split}.caption.txt"))
    return set(captions["video_ids"].str[0])


def test_one_file_of_which_a_part_is_held_out() -> None:
    result = run(*SIMULATE, "all.json", "--hold_out", "0.4")
    assert result.code == 0, result
    assert result.out.splitlines()[-1] == "sim/tiny is written"
    assert (len(names("train")), len(names("val"))) == (3, 2)
    assert names("train") | names("val") == {f"v_{i}" for i in range(5)}
    with h5py.File("sim/tiny/FeatureData/tiny/feature.hdf5") as file:
        assert file["v_3"].shape == (13, 6)  # a row a second, of the data set's size
    with h5py.File("sim/tiny/TextData/text.hdf5") as file:
        assert file["v_3#enc#0"].shape == (3, 5)
    assert run("data", "check", "--data", DATA, "--data.root", "sim").code == 0


def test_the_second_call_finds_the_data() -> None:
    assert "is written" in run(*SIMULATE, "all.json").out
    again = run(*SIMULATE, "all.json")
    assert (again.code, again.out.splitlines()[-1]) == (0, "sim/tiny holds these data already")
    for other in (("--seed", "1"), ("--encoder", "mine"), ("--rows_per_second", "2")):
        assert "is written" in run(*SIMULATE, "all.json", *other).out
    with h5py.File("sim/tiny/FeatureData/tiny/feature.hdf5") as file:
        assert file["v_3"].shape == (26, 6)


def test_charades_takes_durations_from_the_other_file() -> None:
    result = run(*SIMULATE, "one.txt", "two.txt", *CSV)
    assert result.code == 0, result
    assert names("train") == {"A0", "A1", "A2"}
    assert names("val") == names("test") == {"B0", "B1", "B2"}
    videos = read_tables(Path("sim/tiny/TextData"), "tiny").split("val").videos
    assert videos["duration"].tolist() == [20.0, 21.0, 22.0]


def test_tvr_lines_and_repairs_are_printed() -> None:
    with Path("two.jsonl").open("a") as file:
        row = {"desc_id": 2, "vid_name": "B", "desc": "z", "ts": [5, 99], "duration": 9.0}
        file.write(json.dumps(row))
    result = run(*SIMULATE, "one.jsonl", "two.jsonl")
    assert result.code == 0, result
    assert any(line.startswith("two.jsonl: ") for line in result.out.splitlines())
    assert not any(line.startswith("one.jsonl: ") for line in result.out.splitlines())
    assert (names("train"), names("val")) == ({"A"}, {"B"})


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["one.txt"], "one.txt needs its --durations: a Charades_v1 file for each"),
        (["one.txt", "two.txt", *CSV[:2]], "two.txt needs its --durations: a Charades_v1 file for"
         " each"),
        (["one.csv"], "one.csv: the name must end in .json, .txt or .jsonl"),
        (["all.json"] * 3, "--annotations takes one or two files, not 3"),
        (["all.json", "--seed", "x"], "lightning data simulate: argument --seed: invalid int value:"
         " 'x'; see lightning data simulate --help"),
        (["all.json", "--hold_out", "0"], "a hold-out of 0.0 puts 0 of 5 videos in val"),
    ],
)  # fmt: skip
def test_refusals(options: list[str], line: str) -> None:
    assert refused(*SIMULATE, *options) == line
    assert not Path("sim").exists()


def test_the_default_density_is_that_of_the_library() -> None:
    default = simulate_verb._parser().get_default("rows_per_second")
    assert default == Simulation.rows_per_second


def test_annotations_are_required() -> None:
    line = refused(*SIMULATE[:-1])
    assert line.startswith("lightning data simulate: the following arguments are required: --anno")


def test_an_encoder_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers")
    monkeypatch.setattr(text_encoder, "TextEncoder", TextEncoder)
    line = refused(*SIMULATE, "all.json", "--encoder", "no/such-model")
    assert line.startswith("text encoder 'no/such-model' is not on this machine")
    assert not Path("sim").exists()
