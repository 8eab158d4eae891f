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

from data_modules.base import GROUP, PRVRDataModule
from data_modules.testing import DataModuleContract
from dreamprvr.models.dreamprvr import DreamPRVRConfig

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
CONTRACT = [name for name in vars(DataModuleContract) if name.startswith("test_")]


def blocks(language: str, heading: str = "Adding a data set") -> list[str]:
    """The blocks of code of a language below a heading."""
    section = TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    found = re.findall(rf"^ *```{language}\n(.*?)^ *```$", section, re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(block) for block in found]


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory):
    """The example's class and its test, in a module named as its entry point says."""
    folder = tmp_path_factory.mktemp("example")
    (folder / "lab_cooking.py").write_text("\n\n".join(blocks("python")), encoding="utf-8")
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
def test_the_example_keeps_the_contract(example, tmp_path: Path, name: str):
    getattr(example.TestCooking(), name)(tmp_path)


def test_the_example_is_short():
    assert len(blocks("python")[0].splitlines()) <= 20


def test_files_exist():
    named = set(re.findall(r"(?:src|data_modules|tests|configs)/[\w./]*", TEXT))
    named -= {"data_modules/cooking.py"}  # the example
    assert len(named) > 25
    missing = [name for name in named if not (ROOT / name).exists()]
    assert not missing


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z-]+)(?=  |`)", TEXT))
    assert {"test", "test-fast", "lint", "help"} <= named
    assert named <= targets


def test_what_it_says_may_be_overridden_can_be():
    for name in ("read_annotations", "video_features", "text_features", "files"):
        assert f"`{name}`" in TEXT
        assert inspect.isfunction(getattr(PRVRDataModule, name))
    assert inspect.isfunction(DataModuleContract.make)


def test_the_part_that_is_shown_trains():
    """The register sampler of the text, in a small network."""
    space: dict[str, Any] = {}
    (text,) = blocks("python", "Changing one part of DreamPRVR")
    exec(text, space)
    config = DreamPRVRConfig(hidden_size=8, num_heads=2, num_registers=2)
    clips = torch.randn(3, 4, 8)
    registers = space["LastClips"](config, factor=2.0)(clips).registers
    assert torch.equal(registers, 2 * clips[:, 2:])


def test_the_contract_that_is_shown_exists():
    (text,) = blocks("python", "Adding a model")
    assert text.startswith("from dreamprvr.models.testing import ModelContract\n")
