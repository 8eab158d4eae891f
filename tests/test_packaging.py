"""The installed packages, and the cost of importing them."""

import ast
import configparser
import json
import re
import subprocess
import sys
from importlib import import_module
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("dreamprvr.cli", "wandb", "pandas", "lightning", "jsonargparse")
# a home or a work folder of somebody's machine
MACHINE_PATH = re.compile(r"(?<![\w.}~/-])/(?:home|Users|root|work|mnt|scratch|tmp)/[\w.-]")


def _setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def _sources() -> list[Path]:
    return [
        p for folder in ("src", "data_modules", "configs") for p in ROOT.glob(f"{folder}/**/*.py")
    ]


def _tracked() -> list[str]:
    command = ["git", "-C", str(ROOT), "ls-files", "-z"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [name for name in done.stdout.split("\0") if name]


def test_all_packages_are_listed() -> None:
    listed = _setup()["options"]["packages"].split()
    found = {
        ".".join(p.parent.relative_to(base).parts)
        for base, folder in ((ROOT / "src", "dreamprvr"), (ROOT, "data_modules"))
        for p in (base / folder).rglob("__init__.py")
    }
    assert [p.parent.name for p in (ROOT / "configs").rglob("__init__.py")] == ["configs"]
    assert len(listed) == len(set(listed))
    assert set(listed) == found | {"dreamprvr.configs"}


def test_no_module_lies_outside_a_package() -> None:
    without = {str(p) for p in _sources() if not (p.parent / "__init__.py").exists()}
    assert without == set()


@pytest.mark.parametrize("name", ["dreamprvr", "dreamprvr.models.dreamprvr.network"])
def test_importing_the_model_loads_nothing_heavy(name: str) -> None:
    program = f"import json, sys, {name}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = json.loads(done.stdout)
    assert name in loaded
    heavy = [m for m in loaded if any(m == h or m.startswith(f"{h}.") for h in HEAVY)]
    assert heavy == []


@pytest.mark.parametrize("path", _sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_python_3_10_reads_it(path: Path) -> None:
    ast.parse(path.read_text(encoding="utf-8"), str(path), feature_version=(3, 10))


def test_entry_points_resolve() -> None:
    section = _setup()["options.entry_points"]
    declared = {
        (group, *(part.strip() for part in line.split("=")))
        for group, lines in section.items()
        for line in lines.strip().splitlines()
    }
    assert {name for group, name, _ in declared if group == "console_scripts"} == {
        "dreamprvr",
        "lightning",
    }
    for _, _, target in declared:
        module, _, attribute = target.partition(":")
        assert callable(getattr(import_module(module), attribute)), target
    installed = {(e.group, e.name, e.value) for e in distribution("dreamprvr").entry_points}
    assert installed == declared


def test_configurations_are_package_data() -> None:
    assert _setup()["options.package_data"]["dreamprvr.configs"].strip() == (
        "*.yaml, addons/*.yaml, features/*.yaml, models/*.yaml"
    )
    others = {p.suffix for p in (ROOT / "configs").iterdir() if p.is_file()} - {".yaml", ".py"}
    assert others == set()


def test_no_machine_paths() -> None:
    found = []
    for name in _tracked():
        path = ROOT / name
        if path.is_file() and path != Path(__file__).resolve():
            text = path.read_bytes().decode("utf-8", errors="replace")
            found += [f"{name}: {m.group()}" for m in MACHINE_PATH.finditer(text)]
    assert found == []


@pytest.mark.parametrize("text", ["/home/me/data", '"/home/x"', "(/Users/a/b)", "=/tmp/a"])
def test_a_machine_path_would_be_found(text: str) -> None:
    assert MACHINE_PATH.search(text)


@pytest.mark.parametrize("text", ["data/home/x", "https://a.org/home/x", "~/home/x", "a/b/tmp/c"])
def test_other_paths_are_let_pass(text: str) -> None:
    assert not MACHINE_PATH.search(text)
