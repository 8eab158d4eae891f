"""The benchmarks' original annotation files, as they were published, brought to one schema.

Sources: ActivityNet Captions (Krishna et al., ICCV 2017), Charades-STA (Gao et al., ICCV 2017), TVR
(Lei et al., ECCV 2020) and QVHighlights (Lei et al., NeurIPS 2021). Captions are numbered as the
PRVR caption files of MS-SL number them; those of QVHighlights have numbers of their own.
All of them hold moments that do not fit their video. These are repaired, none is dropped, and every
reader returns remarks on its repairs.
"""

import math
import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from data_modules.readers.tables import LONGEST, QUERY_COLUMNS, VIDEO_COLUMNS, Annotations
from dreamprvr.core.errors import UserError
from dreamprvr.core.text import (
    load_json,
    load_json_lines,
    normal_id,
    number,
    plural,
    quote,
    read_csv,
    read_lines,
)


class _Caption(NamedTuple):
    """A caption in the form of a file.

    Attributes:
        where: place in the file, for messages.
        video: id of the video.
        duration: seconds of the video; not a number where unknown.
        moments: (start, end) of each moment in seconds; () where unknown.
        text: the sentence.
        query_id: id of the caption; "" where it is numbered.
    """

    where: str
    video: str
    duration: float
    moments: tuple[tuple[float, float], ...]
    text: str
    query_id: str = ""


TOLERANCE = 0.5  # seconds past the end that rounding explains


def read_activitynet(path: str | Path, split: str) -> tuple[Annotations, list[str]]:
    """Read ActivityNet Captions: {video: {duration, timestamps [[start, end]], sentences}}.

    Args:
        path: train.json, val_1.json or val_2.json.
        split: name of the split of all rows.

    Returns:
        The tables, and remarks on what was repaired.

    Raises:
        UserError: if the file is missing or has another structure.
    """
    path = Path(path)
    captions: list[_Caption] = []
    durations: dict[str, float] = {}
    content = load_json(path)
    for video, entry in content.items() if isinstance(content, dict) else ():
        where = f"{path}, video {quote(video)}"
        try:
            duration, moments, texts = (entry[k] for k in ("duration", "timestamps", "sentences"))
            pairs = list(zip(moments, texts, strict=True))
        except (KeyError, TypeError, ValueError):
            raise UserError(
                f"{where}: expected a duration and as many timestamps as sentences"
            ) from None
        video = normal_id(video)
        if video in durations:
            raise UserError(f"{where}: the video comes twice, in two normal forms of Unicode")
        durations[video] = read_duration(where, duration)
        for moment, text in pairs:
            read = (read_moment(where, moment),)
            captions.append(_Caption(where, video, durations[video], read, text))
    return _annotations(path, split, durations, captions)


def read_charades_sta(
    path: str | Path, durations: str | Path, split: str
) -> tuple[Annotations, list[str]]:
    """Read Charades-STA: lines `VIDEO start end##sentence`.

    Args:
        path: charades_sta_train.txt or charades_sta_test.txt.
        durations: the Charades_v1_*.csv of the same videos; its column `length` is in seconds.
        split: name of the split of all rows.

    Returns:
        The tables (of the videos that have captions), and remarks on what was repaired.

    Raises:
        UserError: if a file is missing, or a line has another form (says which).
    """
    path = Path(path)
    lengths = _read_lengths(Path(durations))
    captions: list[_Caption] = []
    for place, line in read_lines(path):
        where = f"{path}, line {place}"
        head, separator, text = line.partition("##")
        fields = head.split()
        if not separator or len(fields) != 3:
            raise UserError(f"{where}: expected `VIDEO start end##sentence`, got {quote(line)}")
        video = normal_id(fields[0])
        duration = lengths.get(video, math.nan)
        moments = (read_moment(where, fields[1:]),)
        captions.append(_Caption(where, video, duration, moments, text))
    return _annotations(path, split, _durations(captions), captions)


def read_tvr(path: str | Path, split: str) -> tuple[Annotations, list[str]]:
    """Read TVR: lines {desc_id, vid_name, desc, ts [start, end], duration}.

    Args:
        path: a file such as tvr_val_release.jsonl; lines without `ts` have no known moment.
        split: name of the split of all rows.

    Returns:
        The tables, and remarks on what was repaired.

    Raises:
        UserError: if the file is missing, or a line has another form (says which).
    """
    path = Path(path)
    captions: list[_Caption] = []
    for place, row in load_json_lines(path):
        where = f"{path}, line {place}"
        video, text = row.get("vid_name"), row.get("desc")
        if not isinstance(video, str) or not isinstance(text, str):
            raise UserError(f"{where}: expected an object with vid_name, desc, ts and duration")
        duration = read_duration(where, row["duration"]) if "duration" in row else math.nan
        moments = (read_moment(where, row["ts"]),) if "ts" in row else ()
        captions.append(_Caption(where, normal_id(video), duration, moments, text))
    return _annotations(path, split, _durations(captions), captions)


def read_qvhighlights(path: str | Path, split: str) -> tuple[Annotations, list[str]]:
    """Read QVHighlights: lines {qid, query, vid, duration, relevant_windows}.

    The id of a query is `qid` and its number, which is the name of its file of text features. Its
    moments are all windows; other keys, such as `saliency_scores`, are not read.

    Args:
        path: a file such as highlight_val_release.jsonl; lines without `relevant_windows`, as in
            the release of the test split, have no known moments.
        split: name of the split of all rows.

    Returns:
        The tables, and remarks on what was repaired.

    Raises:
        UserError: if the file is missing, or a line has another form (says which).
    """
    path = Path(path)
    captions: list[_Caption] = []
    for place, row in load_json_lines(path):
        where = f"{path}, line {place}"
        qid, video, text = (row.get(key) for key in ("qid", "vid", "query"))
        whole = isinstance(qid, int) and not isinstance(qid, bool) and qid >= 0
        if not (whole and isinstance(video, str) and video and isinstance(text, str)):
            raise UserError(f"{where}: expected an object with qid, query, vid and duration")
        windows = row.get("relevant_windows", [])
        if not isinstance(windows, list):
            raise UserError(f"{where}: relevant_windows {quote(windows)} is no list of windows")
        duration = read_duration(where, row["duration"]) if "duration" in row else math.nan
        moments = tuple(read_moment(where, window) for window in windows)
        captions.append(_Caption(where, normal_id(video), duration, moments, text, f"qid{qid}"))
    return _annotations(path, split, _durations(captions), captions)


def read_json_lines(path: str | Path, split: str) -> tuple[Annotations, list[str]]:
    """Read a file of TVR or of QVHighlights, which differ in the keys of the first line.

    Args:
        path: the file.
        split: name of the split of all rows.

    Returns:
        The tables, and remarks on what was repaired.

    Raises:
        UserError: as `read_tvr` and `read_qvhighlights`.
    """
    _, first = next(iter(load_json_lines(Path(path))), (0, {}))
    return (read_qvhighlights if "vid" in first else read_tvr)(path, split)


def _durations(captions: list[_Caption]) -> dict[str, float]:
    return {caption.video: caption.duration for caption in captions}


def _annotations(
    path: Path, split: str, durations: dict[str, float], captions: list[_Caption]
) -> tuple[Annotations, list[str]]:
    """Give captions without an id their number in the video, and repair what does not fit."""
    if not captions:
        raise UserError(f"{path} holds no captions")
    counts: dict[str, int] = {}
    seen: set[str] = set()
    repairs: list[set[str]] = []
    rows = []
    for where, video, duration, moments, text, query_id in captions:
        if not isinstance(text, str):
            raise UserError(f"{where}: sentence {quote(text)} is no string")
        if duration != durations[video] and not math.isnan(duration):
            raise UserError(
                f"{where}: video {quote(video)} lasts {durations[video]} s in another line"
            )
        if query_id in seen:
            raise UserError(f"{where}: {quote(query_id)} stands in another line too")
        index = counts.setdefault(video, 0)
        counts[video] += 1
        fitted = [fit(moment, duration) for moment in moments]
        clean, had_break = without_breaks(text)
        repairs += [done for _, done in fitted] + [{"break"} if had_break else set()]
        name = query_id or f"{video}#enc#{index}"
        seen.add(name)
        rows.append((name, (video,), clean, tuple(moment for moment, _ in fitted), split))
    videos = [(video, duration, split, "") for video, duration in durations.items()]
    annotations = Annotations(
        pd.DataFrame(videos, columns=VIDEO_COLUMNS), pd.DataFrame(rows, columns=QUERY_COLUMNS)
    )
    return annotations, remarks(repairs, sum(map(math.isnan, durations.values())))


def _read_lengths(path: Path) -> dict[str, float]:
    columns, rows = read_csv(path)
    if not {"id", "length"} <= set(columns):
        raise UserError(f"{path}: expected a CSV file with the columns id and length")
    return {
        normal_id(row["id"]): read_duration(f"{path}, line {place}", row["length"])
        for place, row in rows
    }


def fit(moment: tuple[float, float], duration: float) -> tuple[tuple[float, float], set[str]]:
    """Order a moment's ends and clip them to the video; also return which repairs that took."""
    start, end = min(moment), max(moment)
    done = {"swapped"} if moment != (start, end) else set()
    if start == end:
        done.add("empty")
    limit = math.inf if math.isnan(duration) else duration
    if start < 0:
        done.add("negative")
    if end > limit:
        done |= {"past"} | ({"far"} if end > limit + TOLERANCE else set())
    if start > limit or end < 0:
        done.add("outside")
    return (min(max(start, 0.0), limit), min(max(end, 0.0), limit)), done


def without_breaks(text: str) -> tuple[str, bool]:
    """Return a sentence without line breaks and outer space, and whether it had a break."""
    stripped = text.strip()
    joined = re.sub(r"\s*[\r\n]\s*", " ", stripped)
    return joined, bool(re.search(r"[\r\n]", text))


def remarks(repairs: list[set[str]], unknown: int) -> list[str]:
    """Say what was repaired, in a line for each kind of repair.

    Args:
        repairs: for each moment and each sentence the kinds of repair that `fit` and
            `without_breaks` reported.
        unknown: number of videos without a duration.
    """
    counts = Counter(kind for kinds in repairs for kind in kinds)
    far = f"{counts['far']:,} by more than {TOLERANCE} s"
    lines = (
        (counts["swapped"], "moment", "with swapped ends: the end came before the start"),
        (counts["past"], "moment", f"cut at the end of the video, {far}"),
        (counts["negative"], "moment", "cut at the start of the video"),
        (counts["outside"], "moment", "outside the video: kept with length 0 at its nearest end"),
        (counts["empty"], "moment", "of length 0: kept"),
        (counts["break"], "sentence", "with a line break, made a space"),
        (unknown, "video", "without a known duration: moments are not cut there"),
    )
    return [f"{plural(count, noun)} {rest}" for count, noun, rest in lines if count]


def read_duration(where: str, value: Any) -> float:
    """Check a duration in seconds from a file; the UserError has its place."""
    seconds = number(value)
    if seconds is None or not 0 < seconds <= LONGEST:
        raise UserError(
            f"{where}: duration {quote(value)} is not a positive number of seconds up to "
            f"{LONGEST:,}"
        )
    return seconds


def read_moment(where: str, value: Any) -> tuple[float, float]:
    """Check a moment from a file, without changing it; the UserError has its place."""
    ends = [number(v) for v in value] if isinstance(value, list) and len(value) == 2 else []
    if not ends or ends[0] is None or ends[1] is None:
        raise UserError(f"{where}: moment {quote(value)} is not [start, end] in seconds")
    return ends[0], ends[1]
