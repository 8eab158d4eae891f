"""Conditions of a search, turned into what the engine takes: allowed values, and ids of videos.

The engine compares metadata as text. So bounds such as `year>=2020` become the list of the values
of that column, among those that the library's videos have, that lie within them. Conditions on what
is no metadata, such as the length of a video, become the list of ids of the videos that meet them.
Both are applied by the engine before it ranks.
"""

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

from dreamprvr.core.errors import UserError
from dreamprvr.core.text import normal_id, number, quote
from dreamprvr.search.catalogue import Payload, library_video
from dreamprvr.search.engine.filters import check_columns
from dreamprvr.search.engine.interface import Allowed
from dreamprvr.search.engine.points import values

LENGTH = "length"  # the column of a video's seconds, unless the metadata has one of this name
_BOUND = re.compile(r"(>=|<=|>|<)\s*(.+)", re.DOTALL)
_RANGE = re.compile(r"(.+?)\.\.(.+)", re.DOTALL)
_DATE = re.compile(r"\d{4}(-\d{2}(-\d{2}([T ]\d{2}:\d{2}(:\d{2})?)?)?)?", re.ASCII)


Test = Callable[[str], bool]
"""Tells whether a value of a column meets a condition."""


class Extent(NamedTuple):
    """The values of a column from the least to the most, for a user who narrows it.

    Args:
        name: name of the column.
        kind: "number" or "date"; all values are of this kind.
        least: the least value.
        most: the greatest value.
    """

    name: str
    kind: Literal["number", "date"]
    least: str
    most: str


def extents(columns: Mapping[str, Sequence[str]], lengths: Iterable[float]) -> list[Extent]:
    """List the columns that bounds can narrow: those of numbers or dates alone, and the length.

    Args:
        columns: values by metadata column of the library.
        lengths: seconds of each video.
    """
    known = [seconds for seconds in lengths if math.isfinite(seconds)]
    length = [str(math.floor(min(known))), str(math.ceil(max(known)))] if known else []
    found = []
    for name, held in {LENGTH: length, **columns}.items():
        if held and all(number(value) is not None for value in held):
            ends = sorted(held, key=float)
            found.append(Extent(name, "number", ends[0], ends[-1]))
        elif held and all(map(_DATE.fullmatch, held)):
            ends = sorted(held)
            found.append(Extent(name, "date", ends[0], ends[-1]))
    return [extent for extent in found if extent.least != extent.most]


def find_allowed(
    where: Mapping[str, Any] | None,
    name: str | None,
    columns: Mapping[str, Sequence[str]],
    known: Mapping[str, Payload],
) -> Allowed:
    """Turn the conditions of a user into what the engine takes.

    Args:
        where: condition, or list of conditions, by metadata column, as `Library.search` has it.
        name: words that the title, the id or the path of a video must hold; None allows all.
        columns: values by metadata column of the library.
        known: payloads of the library's videos, by id.

    Raises:
        UserError: there is no column of a name, or its values cannot be compared with a bound.
    """
    conditions = {column: [str(word) for word in values(held)] for column, held in
                  (where or {}).items()}  # fmt: skip
    metadata = {column: words for column, words in conditions.items() if column != LENGTH}
    only: set[str] | None = None
    if LENGTH in conditions:
        if LENGTH in columns:
            metadata[LENGTH] = conditions[LENGTH]
        else:
            lengths = {key: str(float(held["source"]["duration"])) for key, held in known.items()}
            met = set(_meeting(LENGTH, conditions[LENGTH], set(lengths.values())))
            only = {key for key, length in lengths.items() if length in met}
    check_columns(metadata, columns)
    if name is not None:
        named = {key for key, held in known.items() if _is_named(key, held, name)}
        only = named if only is None else only & named
    exact = {column: _meeting(column, words, columns[column]) for column, words in metadata.items()}
    return Allowed(exact, None if only is None else frozenset(only))


def _meeting(column: str, words: Sequence[str], held: Iterable[str]) -> list[str]:
    """List the values of a column that meet conditions.

    A condition that is a value of the column allows this value. Other conditions may be bounds
    (`>=2020`), which must all hold, or closed ranges (`2020..2022`).

    Args:
        column: name of the column, for messages.
        words: the conditions.
        held: values that videos have.

    Returns:
        The values that meet all bounds and, if there are others, one of the other conditions.
    """
    there = sorted(held)
    bounds: list[Test] = []
    others: list[Test] = []
    for word in words:
        bound, span = _BOUND.fullmatch(word), _RANGE.fullmatch(word)
        if word in there:
            others.append(partial(operator.eq, word))
        elif bound is not None:
            bounds.append(_compared(column, bound[1], bound[2].strip(), there))
        elif span is not None and all(_is_comparable(end.strip()) for end in span.groups()):
            low = _compared(column, ">=", span[1].strip(), there)
            high = _compared(column, "<=", span[2].strip(), there)
            others.append(partial(_all, (low, high)))
        elif column == LENGTH and number(word) is not None:  # 60 is 60.0
            low, high = (_compared(column, sign, word, there) for sign in (">=", "<="))
            others.append(partial(_all, (low, high)))
        else:
            others.append(partial(operator.eq, word))
    return [
        value
        for value in there
        if _all(bounds, value) and (not others or any(test(value) for test in others))
    ]


def _all(tests: Sequence[Test], value: str) -> bool:
    return all(test(value) for test in tests)


def _compared(column: str, sign: str, bound: str, held: Sequence[str]) -> Test:
    """Make the test whether a value lies on the right side of a bound.

    Numbers are compared as numbers. Dates are compared to as many places as the bound has, so
    that 2024-03-01 meets `<=2024`. A value that cannot be compared meets no bound.

    Args:
        column: name of the column, for messages.
        sign: `>=`, `<=`, `>` or `<`.
        bound: the number or the date.
        held: values of the column.

    Raises:
        UserError: the bound is neither a number nor a date, or no value can be compared with it.
    """
    amount = number(bound)
    is_date = _DATE.fullmatch(bound) is not None

    def order(value: str) -> int | None:
        """Compare a value with the bound: -1, 0 or 1; None if that has no meaning."""
        other = number(value)
        if amount is not None and other is not None:
            return (other > amount) - (other < amount)
        if not is_date or not _DATE.fullmatch(value):
            return None
        left, right = value.replace("T", " ")[: len(bound)], bound.replace("T", " ")
        return (left > right) - (left < right)

    if not _is_comparable(bound):
        raise UserError(
            f"{column}{sign}{quote(bound)[1:-1]}: a bound is a number or a date, say "
            f"{column}{sign}2020 or {column}{sign}2024-01-31"
        )
    if held and all(order(value) is None for value in held):
        raise UserError(
            f"{column}{sign}{bound} has no meaning: no value of the column {quote(column)} is a "
            f"{'number' if amount is not None else 'date'}; they are such as {quote(held[0])}"
        )
    right_side = {">=": (0, 1), "<=": (-1, 0), ">": (1,), "<": (-1,)}[sign]
    return lambda value: order(value) in right_side


def _is_comparable(bound: str) -> bool:
    return number(bound) is not None or _DATE.fullmatch(bound) is not None


def _is_named(video_id: str, payload: Payload, name: str) -> bool:
    """Return whether the title, the id or the path of a video holds all of some words."""
    video = library_video(video_id, payload)
    place = "" if video.path is None else str(video.path)
    held = normal_id(f"{video.title}\n{video_id}\n{place}").casefold()
    return all(word in held for word in normal_id(name).casefold().split())
