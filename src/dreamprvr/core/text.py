"""Read text files of others, compare ids, and quote text in messages.

All text files are read by one rule. They are UTF-8, with or without a byte order mark, and their
lines end with "\\n", "\\r\\n" or "\\r". NUL characters and halves of surrogate pairs are refused,
also if a JSON file writes them as escapes. Only regular files up to a stated size are read.

Ids are compared in Unicode's normal form C: "é" as one character and "e" with a combining accent
are the same id. All else must be equal: white space inside an id, no-break spaces, zero-width
characters and upper or lower case are kept as they are.
"""

import csv
import difflib
import io
import json
import math
import os
import re
import reprlib
import stat
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from dreamprvr.core.errors import UserError
from dreamprvr.core.file_kinds import (
    CAPTIONS,
    EMPTY,
    HEAD,
    JSON,
    SUBTITLES,
    TEXT,
    UNKNOWN,
    described,
    kind_of_bytes,
)

TEXT_BYTES = 2**28
"""Bytes of the largest text file that is read: 256 MiB, 60 times the largest published one."""
JSON_BYTES = 2**26
"""Bytes of the largest JSON file that is read: 64 MiB, which may take 20 times as much memory."""
QUOTED = 100
"""Largest number of characters of a file's content that a message quotes."""

_KINDS = (
    (stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"),
)  # fmt: skip
_UTF16 = (b"\xff\xfe", b"\xfe\xff")

# control characters, line and paragraph ends, halves of surrogates
_OBEYED = frozenset({"Cc", "Zl", "Zp", "Cs"})
# turn the order of the letters that follow, beyond the end of the text
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = QUOTED - 20


def open_file(path: str | Path, limit: int = TEXT_BYTES) -> BinaryIO:
    """Open a file for reading that may come from a stranger.

    Pipes, sockets and devices are refused without being opened, since reading them may wait or
    go on for ever.

    Args:
        path: path of the file; links are followed.
        limit: largest size in bytes that is opened.

    Raises:
        UserError: the file is missing, not a regular file, too large, or may not be read. The
            message tells these apart.
    """
    shown = shorten(str(path), 300)
    try:
        status = os.stat(path)
        kind = next((name for test, name in _KINDS if test(status.st_mode)), None)
        if kind is not None:
            raise UserError(f"{shown} is {kind}: name a regular file")
        if status.st_size > limit:
            raise UserError(_too_large(shown, limit))
        # without waiting, in case a pipe has just replaced the file
        flags = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0)
        return open(os.open(path, flags), "rb")
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{shown} is missing") from None
    except PermissionError:
        raise UserError(f"{shown} may not be read: check its permissions") from None
    except OSError as error:
        raise UserError(f"{shown} cannot be read: {error.strerror or error}") from None
    except ValueError:  # a NUL or half of a surrogate pair in the path
        raise UserError(f"{one_line(shown)} cannot be the path of a file") from None


def read_bytes(path: str | Path, limit: int = TEXT_BYTES) -> bytes:
    """Read a whole file that may come from a stranger.

    Args:
        path: path of the file; links are followed.
        limit: largest size in bytes that is read.

    Raises:
        UserError: see `open_file`.
    """
    shown = shorten(str(path), 300)
    try:
        with open_file(path, limit) as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise UserError(f"{shown} cannot be read: {error.strerror or error}") from None
    if len(content) > limit:  # a file that hides its size, as those of /proc do
        raise UserError(_too_large(shown, limit))
    return content


def read_text(path: str | Path, limit: int = TEXT_BYTES, errors: str = "strict") -> str:
    """Read a whole UTF-8 text file; its line ends become "\\n".

    Args:
        path: path of the file; links are followed.
        limit: largest size in bytes that is read.
        errors: "strict", or "surrogateescape" for lists of file names, which may be any bytes.

    Raises:
        UserError: see `read_bytes`; or the file holds only white space, is not UTF-8, or has a
            NUL character. For the last two the message names the line.
    """
    shown = shorten(str(path), 300)
    content = read_bytes(path, limit)
    kind = kind_of_bytes(content[:HEAD])
    if kind not in (TEXT, JSON, CAPTIONS, SUBTITLES, UNKNOWN, EMPTY):
        raise UserError(f"{shown} is {described(Path(path), 'a text file')}")
    if content.startswith(_UTF16):
        raise UserError(f"{shown} is UTF-16: convert the file to UTF-8")
    if (place := content.find(b"\0")) >= 0:
        raise UserError(f"{shown}, line {_line(content, place)}: a NUL character: take it out")
    try:
        text = content.decode("utf-8-sig", errors)
    except UnicodeDecodeError as error:
        number = _line(content, error.start)
        raise UserError(f"{shown}, line {number}: not UTF-8; convert the file to UTF-8") from None
    if not text or text.isspace():
        raise UserError(f"{shown} is empty")
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def read_lines(path: str | Path, limit: int = TEXT_BYTES) -> Iterator[tuple[int, str]]:
    """Read the lines of a text file, each with its number from 1, without blank lines at the end.

    Lines are parted only at line ends, not at other characters that `str.splitlines` knows, such
    as U+2028.

    Raises:
        UserError: see `read_text`.
    """
    lines = read_text(path, limit).split("\n")
    while not lines[-1].strip():
        lines.pop()
    return enumerate(lines, 1)


def load_json(path: str | Path, limit: int = JSON_BYTES) -> Any:
    """Read a JSON file in which no object has a key twice.

    Raises:
        UserError: see `read_text`; or the file is not JSON, in which NaN and infinite numbers are
            not allowed.
    """
    return _parse(shorten(str(path), 300), read_text(path, limit), lines=True)


def load_json_lines(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Read the objects of a JSON-lines file, each with its line number from 1.

    Raises:
        UserError: see `read_text`; or a line is not a JSON object, or has a key twice.
    """
    for number, line in read_lines(path):
        where = f"{shorten(str(path), 300)}, line {number}"
        row = _parse(where, line, lines=False)
        if not isinstance(row, dict):
            raise UserError(f"{where}: expected a JSON object")
        yield number, row


def read_csv(path: str | Path) -> tuple[list[str], Iterator[tuple[int, dict[str, str]]]]:
    """Read a CSV file whose first line names the columns.

    Returns:
        The names of the columns, without white space around them; and an iterator over the rows.
        It gives the number of a row's last line and its unchanged cells by column. Rows without any
        text are left out.

    Raises:
        UserError: see `read_text`; or the file is not CSV, a column has no name or the name of
            another, or a row has more or fewer cells than there are columns.
    """
    shown = shorten(str(path), 300)
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    header = [name.strip() for name in next(_csv_cells(shown, reader), [])]
    if len(set(header)) < len(header) or "" in header:
        raise UserError(f"{shown}, line 1: every column needs a name of its own")
    return header, _csv_rows(shown, reader, header)


def _csv_rows(shown: str, reader: Any, header: list[str]) -> Iterator[tuple[int, dict[str, str]]]:
    for row in _csv_cells(shown, reader):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(header):
            raise UserError(
                f"{shown}, line {reader.line_num}: {len(row)} cells, but {len(header)} columns"
            )
        yield reader.line_num, dict(zip(header, row, strict=True))


def _csv_cells(shown: str, reader: Any) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise UserError(f"{shown}, line {reader.line_num}: not CSV ({error})") from None


def number(value: object) -> float | None:
    """Convert a number or its decimal text to float; None for anything else and if not finite."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        converted = float(value)
    except (ValueError, OverflowError):  # 1e999 is infinite; whole numbers may be too large
        return None
    if not math.isfinite(converted) or (isinstance(value, str) and "_" in value):
        return None
    return converted


def normal_id(name: str) -> str:
    """Convert an id to the form in which ids are compared, Unicode's normal form C."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def one_line(text: str | Path) -> str:
    """Write characters that a terminal obeys, and line ends, as escapes like "\\x1b"."""
    text = str(text)
    if text.isprintable():
        return text
    return "".join(ascii(c)[1:-1] if _is_obeyed(c) else c for c in text)


def message_line(message: object) -> str:
    """Write a message or an error in one line: white space joined, the rest as in `one_line`."""
    return one_line(" ".join(str(message).split()))


def shorten(text: str, length: int = QUOTED) -> str:
    """Cut the middle of a text to leave at most `length` characters, with "..." in its place."""
    if len(text) <= length:
        return text
    head = (length - 3) // 2
    return f"{text[:head]}...{text[len(text) - (length - 3 - head) :]}"


def listed(names: Sequence[str], most: int = 5) -> str:
    """Join the first names of a list, each in one line that can be read; "..." are the others."""
    shown = [one_line(shorten(name)) for name in names[:most]]
    return ", ".join(shown) + (", ..." if names[most:] else "")


def plural(count: int, noun: str) -> str:
    """Write a count with its noun: `1 video`, `2,000 videos`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def quote(value: object) -> str:
    """Write a value of a file for a message as Python would, in about 100 characters."""
    try:
        return shorten(_SHORT.repr(value))
    except ValueError:  # a whole number of more digits than Python writes
        return "a number of thousands of digits"


def meant(name: str, known: Iterable[str]) -> str:
    """Write " (did you mean NAME?)" with the known name that is most similar to a given one.

    Args:
        name: name that was given and is not known.
        known: names to choose from.

    Returns:
        Nothing if no known name is similar.
    """
    near = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def _too_large(shown: str, limit: int) -> str:
    return f"{shown} is too large: of such a file at most {limit:,} bytes are read"


def _is_obeyed(character: str) -> bool:
    return unicodedata.category(character) in _OBEYED or character in _TURNING


def _line(content: bytes, place: int) -> int:
    """Return the number of the line that holds the byte at `place`."""
    return len(re.findall(rb"\r\n?|\n", content[:place])) + 1


def _parse(where: str, text: str, lines: bool) -> Any:
    """Parse JSON.

    Args:
        where: name of the file, and of the line if the text is one line of it, for messages.
        text: text to parse.
        lines: True if messages must name the line within the text.
    """
    try:
        content = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
        if "\\u" in text:
            _refuse_escapes(content)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}" if lines else f"column {error.colno}"
        raise UserError(f"{where}: not JSON ({error.msg.removesuffix(' at')} at {place})") from None
    except RecursionError:
        raise UserError(f"{where}: nested too deeply") from None
    except ValueError as error:
        reason = str(error)
        if reason.startswith("Exceeds the limit"):
            reason = "a number has too many digits"
        raise UserError(f"{where}: {reason}") from None
    return content


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a JSON object and refuse equal keys, of which json would silently keep the last."""
    row = dict(pairs)
    if len(row) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"key {quote(key)} comes twice")
            seen.add(key)
    return row


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number in JSON")


def _refuse_escapes(content: Any) -> None:
    """Refuse NUL characters and halves of surrogate pairs that JSON writes as escapes."""
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str):
            if "\0" in value:
                raise ValueError(f"a NUL character in {quote(value)}: take it out")
            if not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
                raise ValueError(
                    f"half of a surrogate pair in {quote(value)}: write the whole character"
                )
