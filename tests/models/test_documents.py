"""The documents of the models and the code cite each other; what they cite exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "docs" / name for name in ("model.md", "protocol.md")]
DOCUMENTS += sorted((ROOT / "docs" / "models").glob("*.md"))


def numbers_of_sections(document: Path) -> set[str]:
    return set(re.findall(r"^#+ ([\d.]+) ", document.read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("room", ["src/dreamprvr", "data_modules", "benchmarks"])
def test_every_section_that_the_code_cites_exists(room: str) -> None:
    missing = []
    for path in sorted((ROOT / room).rglob("*.py")):
        text = re.sub(r"\s+(?:# ?)?", " ", path.read_text(encoding="utf-8"))
        cited = re.findall(
            r"(docs/[\w/]+\.md),? sections? ([\d.]+(?:(?:,| to| and) [\d.]+)*)", text
        )
        for name, sections in cited:
            known = numbers_of_sections(ROOT / name)
            numbers = [number.rstrip(".") for number in re.findall(r"[\d.]*\d", sections)]
            missing += [(path.name, name, number) for number in numbers if number not in known]
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_and_name_of_a_code_line_exists(document: Path) -> None:
    """A paragraph that begins with `Code` names files, and functions or classes in them."""
    paragraphs = re.findall(
        r"Code[:,].*?(?=\n\n|\Z)", document.read_text(encoding="utf-8"), re.DOTALL
    )
    assert paragraphs
    for paragraph in paragraphs:
        quoted = re.findall(r"`([^`]+)`", paragraph)
        folder = next((name for name in quoted if name.endswith("/")), "")
        files = [name if (ROOT / name).exists() else folder + name
                 for name in quoted if name.endswith(".py")]  # fmt: skip
        assert files or folder, paragraph
        assert all((ROOT / file).is_file() for file in files), paragraph
        text = "".join((ROOT / file).read_text(encoding="utf-8") for file in files)
        for name in (part for quote in quoted if "/" not in quote and not quote.endswith(".py")
                     for part in quote.split(".")):  # fmt: skip
            assert re.search(rf"(def|class) {name}\b|self\.{name} = ", text), (paragraph, name)
