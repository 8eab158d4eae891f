"""Caption files: the text files of the MS-SL release, and JSON lines and CSV for any id.

    .txt    lines `<video id>#enc#<number> <text>`
    .jsonl  lines {"caption_id": ..., "video_id": ..., "caption": ...}
    .csv    the columns caption_id, video_id and caption

The ending of the file's name says which it is. In the last two one of the ids may be left out: the
video's id is then taken from the caption's, or the captions of each video are numbered from 0.
They are for ids that hold white space, which a line of text cannot tell from the caption.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dreamprvr.core.errors import UserError
from dreamprvr.core.files import write_text
from dreamprvr.core.text import load_json_lines, normal_id, quote, read_csv, read_lines

if TYPE_CHECKING:
    import pandas as pd

CAPTION_COLUMNS = ["query_id", "video_ids", "text"]
ENDINGS = (".txt", ".jsonl", ".csv")

_FORM = "<video id>#enc#<number>"
_KEYS = ("caption_id", "video_id", "caption")
# An id in a text: the line belongs to an id with white space, or two lines were joined.
_SECOND_ID = re.compile(r"#enc#\d+(?:\s|$)")
# Characters that nobody sees and that stand at an end of an id by mistake: zero-width spaces and
# joiners, and the byte order mark that joined files have in the middle.
_UNSEEN = re.compile("^[\u200b-\u200f\u2060\ufeff]|[\u200b-\u200f\u2060\ufeff]$")

_Row = tuple[str, str, str, str]  # where it stands, caption id, video id, text


def split_caption_id(caption_id: str) -> tuple[str, str, str] | None:
    """Take a caption's id apart at its last "#enc#" or, if it has none, at its first "#".

    Returns:
        The video's id, the separator and the caption's number; None if there is no separator,
        nothing before it, or no number of plain digits after "#enc#".
    """
    video, separator, number = caption_id.rpartition("#enc#")
    if not separator:
        video, separator, number = caption_id.partition("#")
    elif not re.fullmatch("[0-9]+(#[0-9]+)*", number):
        return None
    return (video, separator, number) if video and separator else None


def find_captions(path: Path) -> Path:
    """Find a caption file in whichever form it is there.

    Args:
        path: path of the file in the form `.txt`.

    Returns:
        The file that exists; `path` itself if there is none.

    Raises:
        UserError: it is there in several forms.
    """
    there = [form for ending in ENDINGS if (form := path.with_suffix(ending)).exists()]
    if len(there) > 1:
        names = ", ".join(form.name for form in there)
        raise UserError(f"{path.parent} has {names}: keep one of them")
    return there[0] if there else path


def read_captions(path: str | Path) -> "pd.DataFrame":
    """Read a caption file in any of the three forms.

    Args:
        path: path of the file. In the text form a tab or a no-break space may stand for the space
            after the id, and blank lines at the end are left out.

    Returns:
        One row for each caption, in file order: `query_id`, `video_ids` (a tuple of one id) and
        `text` exactly as it stands, "" if the line ends after the space (`data check` lists such
        captions). Ids are in Unicode's normal form C.

    Raises:
        UserError: if the file cannot be read as text (see `dreamprvr.core.text.read_text`), a line
            has another form, or an id comes twice. The message names the line.
    """
    import pandas as pd  # takes a second, which readers of a feature file need not wait for

    path = Path(path)
    readers = {".jsonl": _json_rows, ".csv": _csv_rows}
    captions = []
    first: dict[str, str] = {}
    for where, query_id, video_id, text in readers.get(path.suffix.lower(), _text_rows)(path):
        if first.setdefault(query_id, where) != where:
            line = first[query_id].rpartition(", ")[2]
            raise UserError(f"{where}: caption id {quote(query_id)} is already used in {line}")
        captions.append((query_id, (video_id,), text))
    if not captions:
        raise UserError(f"{path} holds no captions")
    return pd.DataFrame(captions, columns=CAPTION_COLUMNS)


def write_captions(path: str | Path, captions: "pd.DataFrame") -> None:
    """Write `query_id` and `text` of a table of captions, so that `read_captions` returns them.

    Args:
        path: a file in the text form.
        captions: the table.

    Raises:
        UserError: if an id or a text could not be read back: a line break or a NUL character in
            either, white space or no "#" in an id, an id that comes twice.
    """
    lines = []
    for query_id, text in zip(captions["query_id"], captions["text"], strict=True):
        line = f"{query_id} {text}"
        if any(mark in line for mark in "\r\n\0"):
            raise UserError(
                f"{path}: caption {quote(query_id)} has a line break or a NUL character: take it "
                "out first"
            )
        whole = not _UNSEEN.search(query_id) and _split_line(line) == (query_id, text)
        if not whole or split_caption_id(query_id) is None:
            raise UserError(f"{path}: caption id {quote(query_id)} is not {_FORM}")
        lines.append(line + "\n")
    if captions["query_id"].duplicated().any():
        twice = captions["query_id"][captions["query_id"].duplicated()].iloc[0]
        raise UserError(f"{path}: caption id {quote(twice)} comes twice: ids must be unique")
    write_text(Path(path), "".join(lines))


def _split_line(line: str) -> tuple[str, str] | None:
    """Split a line at the first space or tab, or at other white space right after a whole id."""
    space = re.search(r"[ \t]", line)
    head = line[: space.start()] if space else line
    form = r"#enc#\d+(?=\s)" if "#enc#" in head else r"#\d+(?=\s)"
    if after := re.search(form, head):
        head = head[: after.end()]
    return (head, line[len(head) + 1 :]) if len(head) < len(line) else None


def _text_rows(path: Path) -> Iterator[_Row]:
    for number, line in read_lines(path):
        where = f"{path}, line {number}"
        if line[:1].isspace() and line.strip():
            raise UserError(
                f"{where}: white space stands before the caption id in {quote(line)}: take it out"
            )
        parts = _split_line(line)
        if parts is None:
            raise UserError(f"{where}: no space between caption id and text in {quote(line)}")
        query_id, text = normal_id(parts[0]), parts[1]
        if unseen := _UNSEEN.search(query_id):
            raise UserError(
                f"{where}: the invisible character U+{ord(unseen[0]):04X} stands at an end of "
                f"caption id {quote(query_id)}: take it out"
            )
        if (split := split_caption_id(query_id)) is None:
            raise UserError(
                f"{where}: caption id {quote(query_id)} is not {_FORM}; ids with spaces can be "
                "given in a .jsonl or .csv file"
            )
        if _SECOND_ID.search(text):
            raise UserError(
                f"{where}: another caption id stands in {quote(text)}: separate the lines, or give "
                "ids with spaces in a .jsonl or .csv file"
            )
        yield where, query_id, split[0], text


def _json_rows(path: Path) -> Iterator[_Row]:
    counts: dict[str, int] = {}
    for number, row in load_json_lines(path):
        yield _row(f"{path}, line {number}", row, counts)


def _csv_rows(path: Path) -> Iterator[_Row]:
    columns, rows = read_csv(path)
    if "caption" not in columns or not {"caption_id", "video_id"} & set(columns):
        raise UserError(
            f"{path}, line 1: expected the columns caption and caption_id or video_id, or both"
        )
    counts: dict[str, int] = {}
    for number, row in rows:
        yield _row(f"{path}, line {number}", row, counts)


def _row(where: str, row: Mapping[str, object], counts: dict[str, int]) -> _Row:
    """Bring a row to ids and text; `counts` holds how many captions each video has had."""
    values = [row.get(key, "") for key in _KEYS]
    for key, value in zip(_KEYS, values, strict=True):
        if not isinstance(value, str):
            raise UserError(f"{where}: {key} {quote(value)} is no string")
    query_id, video_id, text = map(str, values)
    query_id, video_id = normal_id(query_id), normal_id(video_id)
    if "caption" not in row or not (query_id or video_id):
        raise UserError(f"{where}: expected caption and caption_id or video_id, or both")
    if not video_id:
        if (split := split_caption_id(query_id)) is None:
            raise UserError(
                f"{where}: caption id {quote(query_id)} is not {_FORM}; give the video_id too"
            )
        video_id = split[0]
    number = counts.setdefault(video_id, 0)
    counts[video_id] += 1
    return where, query_id or f"{video_id}#enc#{number}", video_id, text
