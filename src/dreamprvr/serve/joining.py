"""Joins the modules of the page, so that a browser loads one script in place of many."""

import re
from pathlib import Path

_IMPORT = re.compile(
    r"^import (?:\* as (?P<all>\w+)|\{(?P<some>[^}]*)\}) from "
    r'"\./(?P<file>\w+)\.js";\n', re.MULTILINE,
)  # fmt: skip
_EXPORT = re.compile(r"^export ((?:async )?function|class|const) (\w+)", re.MULTILINE)
_COMMENT = re.compile(r"^ *(?://.*|/\*\*(?s:.*?)\*/)\n", re.MULTILINE)
_OTHER = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)


def joined(folder: Path, name: str) -> str:
    """Write a module and all that it imports as one script.

    Each imported module becomes a function that is called once and returns what it exports. Lines
    that are comments are left out.

    Args:
        folder: folder of the modules.
        name: name of the module without its ending.

    Returns:
        Text of a module that imports nothing.

    Raises:
        ValueError: a module imports or exports in a way that is not understood, or modules import
            each other.
    """
    parts: dict[str, str] = {}
    _join(folder, name, parts, ())
    return "".join(parts.values())


def _join(folder: Path, name: str, parts: dict[str, str], above: tuple[str, ...]) -> None:
    if name in above:
        raise ValueError(f"{name}.js imports itself by {', '.join(above)}")
    text = (folder / f"{name}.js").read_text(encoding="utf-8")
    for found in _IMPORT.finditer(text):
        if found["file"] not in parts:
            _join(folder, found["file"], parts, (*above, name))
    names = [found[2] for found in _EXPORT.finditer(text)]
    text = _COMMENT.sub("", _EXPORT.sub(r"\1 \2", _IMPORT.sub(_taken, text)))
    if other := _OTHER.search(text):
        raise ValueError(f"{name}.js: {other[0]}: write imports and exports as the others do")
    if above:
        given = f"return {{ {', '.join(names)} }};"
        text = f"const ${name} = await (async () => {{\n{text}{given}\n}})();\n"
    parts[name] = text


def _taken(found: re.Match[str]) -> str:
    """Write an import as a constant."""
    names = found["all"] or "{" + found["some"].replace(" as ", ": ") + "}"
    return f"const {names} = ${found['file']};\n"
