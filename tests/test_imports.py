"""Each part of the code imports only the parts below it (docs/architecture.md)."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Each part of the code and the parts that it may import, besides itself.
ALLOWED = {
    "core": set(),
    "models": {"core"},
    "video": {"core"},
    "data_modules": {"core"},
    "evaluation": {"core", "data_modules", "models"},
    "extraction": {"core", "data_modules", "video"},
    "training": {"core", "data_modules", "evaluation", "extraction", "models"},
    "search": {"core", "data_modules", "evaluation", "extraction", "models", "training"},
    "serve": {"core", "extraction", "search", "video"},
}
ALLOWED["cli"] = set(ALLOWED)


def imported_parts(path: Path) -> set[str]:
    """Parts that a file imports, wherever in the file it does so."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    parts = [name.split(".") for name in names]
    found = {part[1] for part in parts if part[0] == "dreamprvr" and len(part) > 1}
    return found | {"data_modules" for part in parts if part[0] == "data_modules"}


def folder_of(part: str) -> Path:
    return ROOT / part if part == "data_modules" else ROOT / "src" / "dreamprvr" / part


@pytest.mark.parametrize("part", ALLOWED)
def test_a_part_imports_only_what_it_may(part: str) -> None:
    files = sorted(folder_of(part).rglob("*.py"))
    assert files
    upward = {
        path.relative_to(ROOT).as_posix(): sorted(above)
        for path in files
        if (above := imported_parts(path) - ALLOWED[part] - {part})
    }
    assert not upward


def test_every_folder_is_a_part_and_no_module_lies_outside_one() -> None:
    package = ROOT / "src" / "dreamprvr"
    folders = {path.parent.name for path in package.glob("*/__init__.py")}
    assert folders == set(ALLOWED) - {"data_modules"}
    assert {path.name for path in package.glob("*.py")} == {"__init__.py", "__main__.py"}


def test_no_parts_import_each_other() -> None:
    for part, below in ALLOWED.items():
        assert all(part not in ALLOWED[other] for other in below)
