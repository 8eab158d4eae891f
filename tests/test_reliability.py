"""docs/reliability.md names tests and files that there are."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")


def test_every_test_that_is_named_exists():
    named = re.findall(r"`([a-z_0-9/]*test_[a-z_0-9]+\.py)`", TEXT)
    assert len(set(named)) > 40
    assert [name for name in named if not (ROOT / "tests" / name).is_file()] == []


def test_every_command_that_is_named_exists():
    modules = re.findall(r"`python -m ([a-z_0-9.]+)", TEXT)
    assert modules
    assert [name for name in modules if not (ROOT / f"{name.replace('.', '/')}.py").is_file()] == []
    configs = re.findall(r"`(configs/[a-z_]+\.yaml)`", TEXT)
    assert configs
    assert [name for name in configs if not (ROOT / name).is_file()] == []


def test_every_promise_is_held_by_a_test_or_a_command():
    rows = [line for line in TEXT.splitlines() if line.startswith("| ") and "promise" not in line]
    assert len(rows) > 25
    for row in rows:
        promise, held = row.strip("| ").split(" | ")
        assert re.search(r"test_\w+\.py|`python -m|a script|measured", held), promise
