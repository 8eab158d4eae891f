"""Each package imports only packages below it (docs/architecture.md)."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Each room and the rooms that it may import, besides itself.
FLOORS = {
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
FLOORS["cli"] = set(FLOORS)


def imported_rooms(path: Path) -> set[str]:
    """Rooms that a file imports, wherever in the file it does so."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    parts = [name.split(".") for name in names]
    rooms = {part[1] for part in parts if part[0] == "dreamprvr" and len(part) > 1}
    return rooms | {"data_modules" for part in parts if part[0] == "data_modules"}


def folder_of(room: str) -> Path:
    return ROOT / room if room == "data_modules" else ROOT / "src" / "dreamprvr" / room


@pytest.mark.parametrize("room", FLOORS)
def test_a_room_imports_only_rooms_below_it(room: str) -> None:
    files = sorted(folder_of(room).rglob("*.py"))
    assert files
    upward = {
        path.relative_to(ROOT).as_posix(): sorted(above)
        for path in files
        if (above := imported_rooms(path) - FLOORS[room] - {room})
    }
    assert not upward


def test_every_folder_is_a_room_and_no_module_lies_outside_one() -> None:
    package = ROOT / "src" / "dreamprvr"
    folders = {path.parent.name for path in package.glob("*/__init__.py")}
    assert folders == set(FLOORS) - {"data_modules"}
    assert {path.name for path in package.glob("*.py")} == {"__init__.py", "__main__.py"}


def test_no_rooms_import_each_other() -> None:
    for room, below in FLOORS.items():
        assert all(room not in FLOORS[other] for other in below)
