"""The examples of CONTRIBUTING.md run, and the files that it names exist."""

import configparser
import importlib
import inspect
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from cli.running import run

from data_modules.base import GROUP, PRVRDataModule
from data_modules.readers.store import FeatureStore
from data_modules.readers.tables import QUERY_COLUMNS, VIDEO_COLUMNS, read_tables
from data_modules.testing import DataModuleContract
from dreamprvr.models.dreamprvr import DreamPRVRConfig
from dreamprvr.models.registry import GROUP as MODELS
from dreamprvr.models.registry import TRUSTED

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
CONTRACT = [name for name in vars(DataModuleContract) if name.startswith("test_")]


def blocks(language: str, heading: str = "Adding a data set") -> list[str]:
    """The blocks of code of a language below a heading, without imports of their own modules."""
    section = TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    found = re.findall(rf"^ *```{language}\n(.*?)^ *```$", section, re.DOTALL | re.MULTILINE)
    own = re.compile(r"^from (?:my_lab|lab_cooking) import \w+\n", re.MULTILINE)
    return [own.sub("", textwrap.dedent(block)) for block in found]


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory):
    """Write the classes and their tests to a module with the name in the entry point."""
    folder = tmp_path_factory.mktemp("example")
    (folder / "lab_cooking.py").write_text("\n\n".join(blocks("python")), encoding="utf-8")
    lab = blocks("python", "Changing one part of DreamPRVR") + blocks("python", "Adding a model")
    (folder / "my_lab.py").write_text("\n\n".join(lab), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield importlib.import_module("lab_cooking")


def test_the_entry_point_names_the_class(example):
    parser = configparser.ConfigParser()
    parser.read_string(blocks("ini")[0])
    name, _, value = parser["options.entry_points"][GROUP].strip().partition(" = ")
    assert (name, value) == (example.Cooking.collection, "lab_cooking:Cooking")
    assert issubclass(example.Cooking, PRVRDataModule)


@pytest.mark.parametrize("name", CONTRACT)
@pytest.mark.parametrize("kind", ["TestKitchen", "TestCooking"])
def test_the_examples_keep_the_contract(example, tmp_path: Path, kind: str, name: str):
    getattr(getattr(example, kind)(), name)(tmp_path)


def test_the_shortest_example_is_short():
    assert len(blocks("python")[0].splitlines()) <= 20


def test_the_tables_that_are_shown_are_read(tmp_path: Path):
    (tmp_path / "cooking_videos.csv").write_text(blocks("csv")[0])
    (tmp_path / "cooking_queries.jsonl").write_text(blocks("json")[0])
    tables = read_tables(tmp_path, "cooking")
    assert tables.split("train").queries["moments"].tolist() == [((3.0, 9.5),)]
    assert len(tables.split("val").videos) == len(tables.split("test").queries) == 1


def test_the_example_trains_as_typed(example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The three commands, with a smaller network and two epochs; and the model of the text."""
    monkeypatch.chdir(tmp_path)
    example.TestCooking().make(tmp_path / "data")
    Path("cooking.yaml").write_text(blocks("yaml")[0])
    section = TEXT.split("\n## Adding a data set\n")[1].split("\n## ")[0]
    commands = [line.split() for line in re.findall(r"^    lightning (.*)$", section, re.MULTILINE)]
    assert [command[0] for command in commands] == ["data", "fit", "test"]
    small = [
        "--trainer.accelerator", "cpu", "--data.num_workers", "0",
        "--model.network.hidden_size", "16", "--model.network.num_heads", "2",
        "--trainer.log_every_n_steps", "1",
    ]  # fmt: skip
    checked = run(*commands[0])
    assert checked.code == 0, checked.out + checked.err
    term = ["--model.objective.extra.short", "my_lab.ShortQueries"]
    fitted = run(*commands[1], *small, *term, "--trainer.max_epochs", "2")
    assert fitted.code == 0, fitted.err
    tested = run(*commands[2], *small)
    assert tested.code == 0, tested.err
    assert "SumR" in tested.out

    other = run(*commands[1], *small, "--trainer.max_epochs", "1", "--model", "my_lab.WordMatch")
    assert other.code == 0, other.err


def test_columns_are_those_of_the_schema():
    section = TEXT.split("\n### What may be overridden\n")[1].split("\n### ")[0]
    assert all(f"| `{name}` |" in section for name in VIDEO_COLUMNS + QUERY_COLUMNS)


DOCUMENTS = [
    "CONTRIBUTING.md",
    "README.md",
    *sorted(f"docs/{p.name}" for p in ROOT.glob("docs/*.md")),
]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_files_exist(name: str):
    text = (ROOT / name).read_text(encoding="utf-8")
    paths = set(re.findall(r"(?<![\w./-])\w+/[\w./]*\.(?:py|yaml)\b", text))
    paths -= {"data_modules/cooking.py"}  # the example
    package = ROOT / "src" / "dreamprvr"
    folders = (ROOT, package, package / "models", ROOT / "configs", ROOT / "tests")
    missing = [path for path in paths if not any((folder / path).is_file() for folder in folders)]
    assert not missing


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z-]+)(?=  |`)", TEXT))
    assert {"test", "test-fast", "lint", "help"} <= named
    assert named <= targets


@pytest.mark.parametrize(
    ("owner", "names"),
    [
        (
            PRVRDataModule,
            ["read_annotations", "repairs", "video_features", "text_features", "files"],
        ),
        (FeatureStore, ["keys", "has", "load"]),
    ],
)
def test_signatures_are_those_of_the_code(owner: type, names: list[str]):
    for name in names:
        signature = str(inspect.signature(getattr(owner, name))).replace("pathlib.", "")
        signature = re.sub(r"[\w.]*\.(?=(Annotations|FeatureStore|Path|ndarray))", "", signature)
        assert f"`{name}{signature}`".replace("ndarray", "np.ndarray") in TEXT


def test_the_part_that_is_shown_trains():
    """The register sampler of the text, in a small network."""
    space: dict[str, Any] = {}
    (text,) = blocks("python", "Changing one part of DreamPRVR")
    exec(text, space)
    config = DreamPRVRConfig(hidden_size=8, num_heads=2, num_registers=2)
    clips = torch.randn(3, 4, 8)
    registers = space["LastClips"](config, factor=2.0)(clips).registers
    assert torch.equal(registers, 2 * clips[:, 2:])


MODEL: dict[str, Any] = {"__name__": "my_lab"}
exec("\n\n".join(blocks("python", "Adding a model")), MODEL)
TestWordMatch = MODEL["TestWordMatch"]  # pytest collects the contract of the model of the text


def test_entry_points_of_models_and_parts_name_what_is_shown():
    named = {
        heading: configparser.ConfigParser()
        for heading in ("Adding a model", "Changing one part of DreamPRVR")
    }
    for heading, parser in named.items():
        parser.read_string(blocks("ini", heading)[0])
    models, parts = (parser["options.entry_points"] for parser in named.values())
    assert models[MODELS].strip() == f"word_match = my_lab:{MODEL['WordMatch'].__name__}"
    assert parts[TRUSTED[1]].strip() == "last_clips = my_lab:LastClips"
