"""Caption files of the MS-SL release: UTF-8, one `<video id>#enc#<i> <text>` a line."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from dreamprvr.errors import UserError

CAPTION_COLUMNS = ["query_id", "video_ids", "text"]


def read_captions(path: str | Path) -> pd.DataFrame:
    """Read a caption file.

    Args:
        path: the file; a byte order mark and Windows line ends are tolerated, and so are blank
            lines at the end.

    Returns:
        One row a caption, in file order: `query_id` (all before the first space), `video_ids` (a
        tuple of one id, all before the first "#") and `text` exactly as it stands ("" where the
        line ends after the space).

    Raises:
        UserError: if the file is missing, empty or not UTF-8, a line has no space or an id no
            "#", or an id comes twice.
    """
    path = Path(path)
    rows = []
    lines: dict[str, int] = {}
    for number, line in _lines(path):
        query_id, space, text = line.partition(" ")
        where = f"{path}, line {number}"
        if not space:
            raise UserError(f"{where}: no space between caption id and text in {line[:60]!r}")
        video_id, separator, _ = query_id.partition("#")
        if not separator or not video_id:
            raise UserError(f"{where}: caption id {query_id!r} is not <video id>#enc#<number>")
        first = lines.setdefault(query_id, number)
        if first != number:
            raise UserError(f"{where}: caption id {query_id!r} is already used in line {first}")
        rows.append((query_id, (video_id,), text))
    if not rows:
        raise UserError(f"{path} holds no captions: one `<caption id> <text>` a line is expected")
    return pd.DataFrame(rows, columns=CAPTION_COLUMNS)


def write_captions(path: str | Path, captions: pd.DataFrame) -> None:
    """Write `query_id` and `text` of a table of captions, so that `read_captions` returns them.

    Raises:
        UserError: if an id or a text could not be read back: a line break in either, a space or
            no "#" in an id, an id that comes twice.
    """
    lines = []
    for query_id, text in zip(captions["query_id"], captions["text"], strict=True):
        if any(mark in query_id + text for mark in "\r\n"):
            raise UserError(f"{path}: caption {query_id!r} has a line break: take it out first")
        if " " in query_id or not query_id.partition("#")[0] or "#" not in query_id:
            raise UserError(f"{path}: caption id {query_id!r} is not <video id>#enc#<number>")
        lines.append(f"{query_id} {text}\n")
    if captions["query_id"].duplicated().any():
        twice = captions["query_id"][captions["query_id"].duplicated()].iloc[0]
        raise UserError(f"{path}: caption id {twice!r} comes twice: ids must be unique")
    with Path(path).open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(lines)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path} is missing: expected a caption file") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        number = error.object.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}, line {number}: not UTF-8; convert the file to UTF-8") from None
    # Not splitlines, which also splits at characters that texts may hold, such as U+2028.
    lines = text.rstrip("\r\n").split("\n") if text.strip() else []
    for number, line in enumerate(lines, 1):
        yield number, line.removesuffix("\r")
