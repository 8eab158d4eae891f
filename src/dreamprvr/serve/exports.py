"""Writes results as files to keep: tables for spreadsheets, cues for players; and names files."""

import csv
import io
import re
import zipfile
from typing import Any

from dreamprvr.search.results import Hit, LibraryVideo, Moment, SearchResult, SpokenMoment, clock

_COLUMNS = (
    "rank", "video", "title", "relevance", "score", "moment", "from", "to", "start_seconds",
    "end_seconds", "peak_seconds", "moment_score", "words",
)  # fmt: skip
# spreadsheets take this for the beginning of a formula, also after blanks
_FORMULA = re.compile(r"\s*[=+\-@\uFF1D\uFF0B\uFF0D\uFF20]|[\t\r\n]")
# what file systems refuse or programs obey: separators, controls, and marks that turn the text
_UNSAFE = re.compile(
    r'[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff<>:"/\\|?*;]+'
)
_LINE_ENDS = re.compile(r"[ \t]*[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]\s*")
_NAME = 80, 180  # characters, and bytes in UTF-8; a file's name has at most 255 bytes


def results_csv(result: SearchResult) -> bytes:
    """Write a table with one row for each moment; metadata columns come last.

    Returns:
        CSV in UTF-8, with the byte order mark that spreadsheets want.
    """
    names = sorted({str(name) for hit in result.hits for name in hit.video.metadata} - {"title"})
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([harmless(name) for name in (*_COLUMNS, *names)])
    for hit in result.hits:
        metadata = [harmless(_text(hit.video.metadata.get(name))) for name in names]
        for number, moment in enumerate(hit.moments, start=1):
            writer.writerow([
                hit.rank, harmless(hit.video.video_id), harmless(hit.video.title),
                hit.relevance, f"{hit.score:.6f}", number, clock(moment.start), clock(moment.end),
                f"{moment.start:.3f}", f"{moment.end:.3f}", f"{moment.peak:.3f}",
                f"{moment.score:.6f}", harmless(_words(moment)), *metadata,
            ])  # fmt: skip
    return text.getvalue().encode("utf-8-sig")


def harmless(cell: str) -> str:
    """Put an apostrophe before what a spreadsheet would take for a formula."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def moments_vtt(query: str, hit: Hit) -> bytes:
    """Write the moments of one video as WebVTT cues in the order of time."""
    lines = ["WEBVTT", "", f"NOTE {_one_line(hit.video.title)}", ""]
    ranked = sorted(enumerate(hit.moments, start=1), key=lambda pair: pair[1].start)
    for number, moment in ranked:
        lines += [
            f"moment {number}", f"{_stamp(moment.start)} --> {_stamp(moment.end)}",
            _cue_text(_words(moment) or f"{query} ({hit.relevance} of 100)"), "",
        ]  # fmt: skip
    return "\n".join(lines).encode()


def results_zip(result: SearchResult) -> bytes:
    """Write a zip archive with one WebVTT file for each video."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for hit in result.hits:
            name = f"{hit.rank:03d} {safe_name(hit.video.title)}.vtt"
            # without a date of its own the same results give the same bytes
            archive.writestr(zipfile.ZipInfo(name), moments_vtt(result.query, hit))
    return data.getvalue()


def _stamp(seconds: float) -> str:
    thousandths = round(seconds * 1000)
    minutes, rest = divmod(thousandths // 1000, 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest:02d}.{thousandths % 1000:03d}"


def _cue_text(text: str) -> str:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _one_line(escaped)


def _one_line(text: str) -> str:
    """Join lines; no-break and ideographic spaces are a part of the text."""
    return _LINE_ENDS.sub(" ", text).strip(" ").replace("-->", "→")


def _words(moment: Moment) -> str:
    """Return what is said in a moment that was found by subtitles; "" for others."""
    return moment.words if isinstance(moment, SpokenMoment) else ""


def _text(value: Any) -> str:
    if value is None:
        return ""
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def clip_name(video: LibraryVideo, start: float, end: float) -> str:
    """Name the file of a clip: `Title 01.12-01.24.mp4`."""
    span = f"{clock(start)}-{clock(end)}".replace(":", ".")
    return f"{safe_name(video.title)} {span}.mp4"


def safe_name(title: str) -> str:
    """Turn a title into a part of a file name for every system: no separators, no hidden file.

    Letters and signs of all scripts stay, with their spaces, joiners and emoji.
    """
    whole = _UNSAFE.sub("_", title).strip(" ._")
    characters, size = _NAME
    name = whole[:characters]
    while len(name.encode()) > size:
        name = name[:-1]
    if name != whole:  # what joined a sign to the next one
        name = name.rstrip(" ._\u200d\ufe0f")
    return name or "video"
