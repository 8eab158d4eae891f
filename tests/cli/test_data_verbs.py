import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from bigfiles import write_big_file
from cli.running import DATA, Tiny, refused, run, write_config

from data_modules.checking.check import check
from dreamprvr.evaluation.baselines import evaluate_baselines
from dreamprvr.evaluation.metrics import COLUMNS

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
    assert line == "lightning data convert: unknown option --config"
    assert "unrecognized arguments: more" in refused("data", "convert", "i3d", "more")
    assert not Path("i3d/feature.hdf5").exists()
    assert refused("data", "convert") == "give --config FILE, say --config tvr.yaml"


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
