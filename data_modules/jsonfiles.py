"""Text, JSON and JSON-lines files of others, with every defect said in one line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dreamprvr.errors import UserError


def read_text(path: Path) -> str:
    """A whole UTF-8 file with its line ends as "\\n".

    Raises:
        UserError: if it is missing, unreadable, empty or not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    if not text.strip():
        raise UserError(f"{path} is empty")
    return text


def load_json(path: Path) -> Any:
    """The content of a JSON file in which no object has a key twice."""
    return _parse(str(path), read_text(path), 0)


def load_json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSON-lines file, each with its line number from 1."""
    for number, line in enumerate(read_text(path).rstrip().split("\n"), 1):
        row = _parse(f"{path}, line {number}", line, number)
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}: expected a JSON object")
        yield number, row


def _parse(where: str, text: str, line: int) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        place = f"column {error.colno}" if line else f"line {error.lineno}, column {error.colno}"
        raise UserError(f"{where}: not JSON ({error.msg} at {place})") from None
    except RecursionError:
        raise UserError(f"{where}: nested too deeply") from None
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; json would silently keep the last of two equal keys."""
    row = dict(pairs)
    if len(row) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key {twice!r} comes twice")
    return row
