import inspect
import json
import shutil
import zlib
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from bigfiles import write_big_file
from cli.running import DATA, Tiny, refused, run, write_config
from qvhighlights_files import row as qv_row
from qvhighlights_files import write_lines

from data_modules.base import GROUP
from data_modules.checking.check import check
from data_modules.generation import text_encoder
from data_modules.generation.simulated_video import Simulation
from data_modules.generation.text_encoder import TextEncoder
from data_modules.readers.captions import read_captions
from data_modules.readers.tables import read_tables
from dreamprvr.cli import data_verbs
from dreamprvr.core import plugins
from dreamprvr.evaluation.baselines import evaluate_baselines
from dreamprvr.evaluation.metrics import COLUMNS
from dreamprvr.models import registry
from dreamprvr.models.dreamprvr import DreamPRVR

ROWS = {"a": np.arange(12, dtype="f4").reshape(2, 6), "b": np.ones((3, 6), "f4")}
TINY = ("--data", DATA, "--data.root", "data")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration in the working directory, and its data."""
    return write_config(tmp_path)


def stored(path: Path) -> dict[str, np.ndarray]:
    with h5py.File(path) as file:
        return {name: dataset[()] for name, dataset in file.items()}


# data check


def test_check_prints_the_report(config: Path) -> None:
    result = run("data", "check", "--config", config)
    assert (result.code, result.err) == (0, "")
    assert result.out == check(Tiny(config.parent / "data")).text() + "\n"
    for line in ("train   7 videos   15 captions", "video features   6-d", "No problems."):
        assert line in result.out


def test_check_fails_where_training_would(config: Path) -> None:
    Path("data/tiny/TextData/tinyval.caption.txt").unlink()
    result = run("data", "check", *TINY)
    assert result.code == 1
    assert "val     cannot be read" in result.out
    assert "- missing captions: expected at data/tiny/TextData/tinyval.caption.txt" in result.out
    assert result.out.endswith("\n1 problem found.\n")


def test_check_without_any_data() -> None:
    result = run("data", "check", "--data", DATA, "--data.root=nowhere")
    assert result.code == 1
    for name in ("train.caption.txt", "val.caption.txt", "test.caption.txt", "text.hdf5"):
        assert name in result.out


def test_check_knows_the_options_of_fit(config: Path) -> None:
    result = run("data", "check", "--config", config, "--model.network.max_words", "3")
    assert "captions over 3 words" in result.out
    line = refused("data", "check", "--config", config, "--data.features", "clip")
    assert "Tiny has no features named 'clip'; it has standard" in line


# data convert


def test_convert_a_folder(tmp_path: Path) -> None:
    folder = write_big_file(tmp_path / "i3d", ROWS)
    result = run("data", "convert", "i3d")
    assert (result.code, result.out) == (0, "features are in i3d/feature.hdf5\n")
    found = stored(folder / "feature.hdf5")
    assert found.keys() == ROWS.keys()
    assert all(np.array_equal(rows, found[name]) for name, rows in ROWS.items())


def test_convert_to_another_file(tmp_path: Path) -> None:
    folder = write_big_file(tmp_path / "i3d", ROWS)
    for words in (
        ("i3d", "-o", "new/a.hdf5"),
        ("--output", "b.hdf5", "i3d"),
        ("--output=c.h5", "i3d"),
    ):
        assert run("data", "convert", *words).code == 0
    for name in ("new/a.hdf5", "b.hdf5", "c.h5"):
        assert stored(Path(name)).keys() == ROWS.keys()
    assert not (folder / "feature.hdf5").exists()


@pytest.mark.parametrize("options", [("--config", "tiny.yaml"), TINY, ("--config=tiny.yaml",)])
def test_convert_the_configured_data_set(config: Path, options: tuple[str, ...]) -> None:
    folder = Path("data/tiny/FeatureData/tiny").resolve()
    shutil.rmtree(folder)
    write_big_file(folder, ROWS)
    result = run("data", "convert", *options)
    assert result.code == 0, result
    assert result.out.endswith("data/tiny/FeatureData/tiny/feature.hdf5\n")
    assert np.array_equal(stored(folder / "feature.hdf5")["a"], ROWS["a"])


def test_convert_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    write_big_file(tmp_path / "i3d", ROWS)
    line = refused("data", "convert", "i3d", "--config", "tvr.yaml")
    assert line == "data convert takes a folder or --config, not both"
    assert "nrecognized arguments: more" in refused("data", "convert", "i3d", "more")
    assert not Path("i3d/feature.hdf5").exists()
    assert refused("data", "convert").startswith("no data set is named: add --config FILE")


# data baselines


def test_baselines(config: Path) -> None:
    result = run("data", "baselines", "--config", config)
    assert result.code == 0, result
    header, *rows = result.out.splitlines()
    assert header.split() == ["tiny", "test", *COLUMNS]
    assert rows[0].split() == ["chance", "25.0", "100.0", "100.0", "100.0", "325.0"]
    expected = evaluate_baselines(Tiny("data"))
    assert [row.rsplit(maxsplit=5)[0] for row in rows] == list(expected)
    for row, values in zip(rows, expected.values(), strict=True):
        assert row.split()[-5:] == [f"{values[column]:.1f}" for column in COLUMNS]


def test_baselines_need_data() -> None:
    line = refused("data", "baselines", "--data", DATA, "--data.root", "nowhere")
    assert "tiny: missing captions: nowhere/tiny/TextData/tinytrain.caption.txt" in line


# data simulate

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


@pytest.fixture
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


@pytest.mark.usefixtures("_files")
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


@pytest.mark.usefixtures("_files")
def test_the_second_call_finds_the_data() -> None:
    assert "is written" in run(*SIMULATE, "all.json").out
    again = run(*SIMULATE, "all.json")
    assert (again.code, again.out.splitlines()[-1]) == (0, "sim/tiny holds these data already")
    for other in (("--seed", "1"), ("--encoder", "mine"), ("--rows_per_second", "2")):
        assert "is written" in run(*SIMULATE, "all.json", *other).out
    with h5py.File("sim/tiny/FeatureData/tiny/feature.hdf5") as file:
        assert file["v_3"].shape == (26, 6)


@pytest.mark.usefixtures("_files")
def test_charades_takes_durations_from_the_other_file() -> None:
    result = run(*SIMULATE, "one.txt", "two.txt", *CSV)
    assert result.code == 0, result
    assert names("train") == {"A0", "A1", "A2"}
    assert names("val") == names("test") == {"B0", "B1", "B2"}
    videos = read_tables(Path("sim/tiny/TextData"), "tiny").split("val").videos
    assert videos["duration"].tolist() == [20.0, 21.0, 22.0]


@pytest.mark.usefixtures("_files")
def test_tvr_lines_and_repairs_are_printed() -> None:
    with Path("two.jsonl").open("a") as file:
        row = {"desc_id": 2, "vid_name": "B", "desc": "z", "ts": [5, 99], "duration": 9.0}
        file.write(json.dumps(row))
    result = run(*SIMULATE, "one.jsonl", "two.jsonl")
    assert result.code == 0, result
    assert any(line.startswith("two.jsonl: ") for line in result.out.splitlines())
    assert not any(line.startswith("one.jsonl: ") for line in result.out.splitlines())
    assert (names("train"), names("val")) == ({"A"}, {"B"})


@pytest.mark.usefixtures("_files")
def test_qvhighlights_with_several_moments_of_a_query() -> None:
    for name, qid in (("train", 0), ("val", 10)):
        rows = [qv_row(qid + i, f"{name}{i}", [[0, 4], [10, 16]]) for i in range(3)]
        write_lines(Path(f"highlight_{name}_release.jsonl"), rows)
    names = ["highlight_train_release.jsonl", "highlight_val_release.jsonl"]
    options = ("--config", "qvhighlights.yaml", "--config", "features/simulated.yaml")
    result = run("data", "simulate", *options, "--data.root", "sim", "--annotations", *names)
    assert result.code == 0, result
    checked = run("data", "check", *options, "--data.root", "sim")
    assert checked.code == 0, checked.out
    assert "video features   512-d" in checked.out
    tables = read_tables(Path("sim/qvhighlights/TextData"), "qvhighlights").split("val")
    assert tables.queries["query_id"].tolist() == ["qid10", "qid11", "qid12"]
    assert tables.queries["moments"].tolist() == [((0.0, 4.0), (10.0, 16.0))] * 3


@pytest.mark.usefixtures("_files")
@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["one.txt"], "one.txt needs its --durations: a Charades_v1 file for each"),
        (["one.txt", "two.txt", *CSV[:2]], "two.txt needs its --durations: a Charades_v1 file for"
         " each"),
        (["one.csv"], "one.csv: the name must end in .json, .txt or .jsonl"),
        (["all.json"] * 3, "--annotations takes one or two files, not 3"),
        (["all.json", "--seed", "x"], "lightning data simulate: Parser key \"seed\": Expected a "
         "<class 'int'>. Got value: x; see lightning data simulate --help"),
        (["all.json", "--hold_out", "0"], "a hold-out of 0.0 puts 0 of 5 videos in val"),
    ],
)  # fmt: skip
def test_refusals(options: list[str], line: str) -> None:
    assert refused(*SIMULATE, *options) == line
    assert not Path("sim").exists()


def test_the_default_density_is_that_of_the_library() -> None:
    default = inspect.signature(data_verbs.simulate_data).parameters["rows_per_second"].default
    assert default == Simulation.rows_per_second


@pytest.mark.usefixtures("_files")
def test_annotations_are_required() -> None:
    line = refused(*SIMULATE[:-1])
    assert "required: annotations" in line


@pytest.mark.usefixtures("_files")
def test_an_encoder_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers")
    monkeypatch.setattr(text_encoder, "TextEncoder", TextEncoder)
    line = refused(*SIMULATE, "all.json", "--encoder", "no/such-model")
    assert line.startswith("text encoder 'no/such-model' is not on this machine")
    assert not Path("sim").exists()


# datasets and models

OURS = {"activitynet": "ActivityNet", "charades": "Charades", "qvhighlights": "QVHighlights",
        "synthetic": "Synthetic", "tvr": "TVR"}  # fmt: skip


def test_the_installed_benchmarks() -> None:
    result = run("datasets")
    assert result.code == 0
    lines = {line.split()[0]: line for line in result.out.splitlines()}
    assert lines.keys() >= OURS.keys()
    for name, class_name in OURS.items():
        assert lines[name].startswith(f"{name:<14}data_modules.{name}.{class_name}: ")
    assert lines["tvr"].endswith("21.8 K clips of six TV shows, each with five captions.")


def test_those_of_other_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    package = SimpleNamespace(name="my-lab")
    points = [
        SimpleNamespace(name="mine", value="cli.running:Tiny", dist=package, load=lambda: Tiny),
        EntryPoint("gone", "no_module:Cls", GROUP),
        EntryPoint("not", "pathlib:Path", GROUP),
    ]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points)
    assert run("datasets").out.splitlines() == [
        "mine          cli.running.Tiny (package my-lab): A few videos; the duration of the first "
        "is not known, the others are 10, 20, ... s long.",
        "data set gone (no_module:Cls) is broken: No module named 'no_module'",
        "data set not (pathlib:Path) is not a PRVRDataModule",
    ]


def test_the_installed_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of other packages are listed with the package, and a broken one in a line."""
    package = SimpleNamespace(name="my-lab")
    theirs = SimpleNamespace(name="mine", value="a:B", dist=package, load=lambda: DreamPRVR)
    points = [*entry_points(group=registry.GROUP), EntryPoint("gone", "no_module:Cls", "models")]
    monkeypatch.setattr(plugins, "entry_points", lambda group: [*points, theirs])
    registry.import_models.cache_clear()
    result = run("models")
    registry.import_models.cache_clear()
    *models, broken = result.out.splitlines()
    lines = {line.split()[0]: line for line in models}
    summary = "Diffusion-guided registers for partially relevant video retrieval (CVPR 2026)."
    path = "dreamprvr.models.dreamprvr.network.DreamPRVR"
    assert lines["dreamprvr"] == f"{'dreamprvr':<14}{path}: {summary}"
    assert lines["mine"] == f"{'mine':<14}{path} (package my-lab): {summary}"
    assert broken == "model gone (no_module:Cls) is broken: No module named 'no_module'"
    assert {"gmmformer_v2", "ms_sl"} < lines.keys()
