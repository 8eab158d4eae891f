"""Moments and sentences of published annotation files that need repair, and how that is said."""

import math
import re
from typing import Any

from dreamprvr.core.errors import UserError
from dreamprvr.core.text import number, quote

TOLERANCE = 0.5  # seconds past the end that rounding explains
LONGEST = 100_000_000  # seconds of a video: three years; more is a mistake


def fit(moment: tuple[float, float], duration: float) -> tuple[tuple[float, float], set[str]]:
    """Order a moment's ends and clip them to the video; says what was needed."""
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


def one_line(text: str) -> tuple[str, bool]:
    """A sentence without outer white space or line breaks, and whether it had one of these."""
    stripped = text.strip()
    joined = re.sub(r"\s*[\r\n]\s*", " ", stripped)
    return joined, bool(re.search(r"[\r\n]", text))


def remarks(repairs: list[set[str]], unknown: int) -> list[str]:
    """Say what was repaired.

    Args:
        repairs: for each caption the kinds of repair that `fit` and `one_line` reported.
        unknown: number of videos without a duration.
    """

    def count(kind: str) -> int:
        return sum(kind in done for done in repairs)

    sentences = (
        (count("swapped"), f"{count('swapped'):,} moments end before they start: ends swapped"),
        (
            count("past"),
            f"{count('past'):,} moments end after their video "
            f"({count('far'):,} by more than {TOLERANCE} s): clipped",
        ),
        (count("negative"), f"{count('negative'):,} moments start before 0: clipped"),
        (
            count("outside"),
            f"{count('outside'):,} moments lie wholly outside their video: "
            "kept, of length 0, at its nearest end",
        ),
        (count("empty"), f"{count('empty'):,} moments are given with length 0: kept"),
        (count("break"), f"{count('break'):,} sentences hold a line break: made a space"),
        (unknown, f"{unknown:,} videos have no known duration: their moments are not clipped"),
    )
    return [sentence for found, sentence in sentences if found]


def read_duration(where: str, value: Any) -> float:
    """A duration in seconds out of a file, or a UserError that says where it stands."""
    seconds = number(value)
    if seconds is None or not 0 < seconds <= LONGEST:
        raise UserError(
            f"{where}: duration {quote(value)} is not a positive number of seconds up to "
            f"{LONGEST:,}"
        )
    return seconds


def read_moment(where: str, value: Any) -> tuple[float, float]:
    """A moment out of a file as it stands there, or a UserError that says where."""
    ends = [number(v) for v in value] if isinstance(value, list) and len(value) == 2 else []
    if not ends or ends[0] is None or ends[1] is None:
        raise UserError(f"{where}: moment {quote(value)} is not [start, end] in seconds")
    return ends[0], ends[1]
