"""Subtitles beside a video: which files they are, and their words as passages with seconds."""

import html
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from dreamprvr.core.errors import UserError
from dreamprvr.core.text import message_line, one_line, read_text, shorten

ENDINGS = (".srt", ".vtt")
FILE_BYTES = 10_000_000  # largest file; that of a film has some 100,000 bytes
CUES = 50_000  # most subtitles of a file; a film has some 2,000
PASSAGE, GAP = 10.0, 4.0  # least seconds of a passage, and seconds of silence that end it
LETTERS = 400  # number of letters from which a passage ends
_TIME = r"(?:(\d{1,4}):)?([0-5]?\d):([0-5]\d)[.,](\d{1,3})"
_TIMES = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}(?:\s.*)?", re.ASCII)
_MARKUP = re.compile(r"<[^<>]{0,200}>|\{[^{}]{0,200}\}")
TAGS = 2  # most words between the video's name and the ending: film.pt-BR.forced.srt
_TAG = re.compile(r"[\w-]{1,12}", re.ASCII)
_LONE = re.compile(  # scripts without spaces, whose signs are words of their own here
    "([\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff])"
)
_ACCENTS = re.compile("[\u0300-\u036f]")


class Passage(NamedTuple):
    """Words that are spoken one after the other.

    Args:
        start: second at which they begin.
        end: second at which they end.
        words: the words, as they are shown.
    """

    start: float
    end: float
    words: str


def words_of(text: str) -> list[str]:
    """Split a text into words that can be compared, in any language.

    A word is a run of letters, digits and their marks, in lower case and without accents. In
    scripts without spaces each sign is a word.
    """
    plain = _ACCENTS.sub("", unicodedata.normalize("NFKD", text.casefold()))
    plain = _LONE.sub(r" \1 ", unicodedata.normalize("NFC", plain))
    if not plain.isascii():
        plain = "".join(c if unicodedata.category(c)[0] in "LNM" else " " for c in plain)
        return plain.split()
    return re.findall("[a-z0-9]+", plain)


def find_files(videos: Mapping[str, Path]) -> dict[str, list[Path]]:
    """Find the subtitle files beside videos: `film.srt`, `film.vtt`, `film.en.srt`.

    Args:
        videos: path of each video, by id.

    Returns:
        Paths by id, sorted; an empty list for a video without subtitles. A video that is not where
        its path says is left out, since its subtitles may only be out of reach.
    """
    there = {
        video_id: path
        for video_id, path in videos.items()
        if str(path) not in ("", ".") and path.is_file()
    }
    found: dict[tuple[str, str], list[Path]] = {
        (str(path.parent), path.stem): [] for path in there.values()
    }
    for folder in sorted({folder for folder, _ in found}):
        for name in sorted(_subtitles_in(folder)):
            # the longest name of a video wins: film.cut.srt is of film.cut.mp4, if there is one
            parts = name[: -len(ENDINGS[0])].split(".")
            for tags in range(min(TAGS, len(parts) - 1) + 1):
                stem = ".".join(parts[: len(parts) - tags])
                if not all(_TAG.fullmatch(tag) for tag in parts[len(parts) - tags :]):
                    break
                if (folder, stem) in found:
                    found[folder, stem].append(Path(folder, name))
                    break
    return {video_id: found[str(path.parent), path.stem] for video_id, path in there.items()}


def _subtitles_in(folder: str) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.lower().endswith(ENDINGS):
                    yield entry.name
    except OSError:
        return


def read_passages(path: Path, duration: float) -> list[Passage]:
    """Read the passages of a subtitle file.

    Args:
        path: path of a file in the format SubRip or WebVTT, in UTF-8.
        duration: seconds of the video, behind which nothing counts; 0 if they are not known.

    Raises:
        UserError: the file is too large, is not UTF-8, or holds no subtitles.
    """
    cues: list[Passage] = []
    for cue in _cues(read_text(path, FILE_BYTES)):
        if len(cues) == CUES:
            raise UserError(f"{path} has more than {CUES:,} subtitles")
        if not duration or cue.start < duration:
            cues.append(cue._replace(end=min(cue.end, duration or cue.end)))
    if not cues:
        raise UserError(f"{path} holds no subtitles with seconds of the video")
    return list(_joined(sorted(cues)))


def _cues(text: str) -> Iterator[Passage]:
    """Yield the subtitles of a file; what has no valid seconds or no words is left out."""
    span: tuple[float, float] | None = None
    lines: list[str] = []
    for line in [*text.split("\n"), ""]:
        match = _TIMES.fullmatch(line) if "-->" in line else None
        if match is not None or not line.strip():
            words = " ".join(html.unescape(_MARKUP.sub(" ", " ".join(lines))).split())
            if span is not None and span[0] < span[1] and words:
                yield Passage(*span, words)
            span, lines = None, []
        if match is not None:
            parts = match.groups()
            span = _seconds(*parts[:4]), _seconds(*parts[4:])
        elif span is not None:
            lines.append(line)


def _seconds(hours: str | None, minutes: str, seconds: str, part: str) -> float:
    return (
        3600 * int(hours or 0) + 60 * int(minutes) + int(seconds) + int(part.ljust(3, "0")) / 1000
    )


def _joined(cues: Iterable[Passage]) -> Iterator[Passage]:
    """Join subtitles that follow each other, since a sentence often takes several."""
    passage: Passage | None = None
    for cue in cues:
        if passage is not None and (
            passage.end - passage.start >= PASSAGE
            or cue.start - passage.end > GAP
            or len(passage.words) >= LETTERS
        ):
            yield passage
            passage = None
        passage = cue if passage is None else Passage(
            passage.start, max(passage.end, cue.end), f"{passage.words} {cue.words}"
        )  # fmt: skip
    if passage is not None:
        yield passage


def skipped(error: UserError) -> str:
    """Write a warning of a subtitle file that is not used."""
    return f"subtitles are left out: {shorten(message_line(one_line(str(error))), 300)}"
