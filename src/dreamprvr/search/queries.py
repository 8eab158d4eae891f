"""A query as the user gives it, with checks before anything is loaded or searched."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal

from dreamprvr.core.errors import UserError
from dreamprvr.core.text import one_line, quote
from dreamprvr.search.engine.points import values
from dreamprvr.search.results import clock

EXACT = 2000  # videos up to which all are scored exactly; docs/search.md has the times
CANDIDATES = 800  # candidates in a library of more videos
RESCORED = 100  # videos that are scored again where the engine's score is not the final one
MOST = 1_000_000  # most videos or moments of one answer, as on the command line
Candidates = int | Literal["all"] | None


@dataclass(frozen=True)
class Query:
    """A query: one of a sentence, a moment or a picture, and what narrows it.

    Args:
        text: the sentence; None for a search by a moment or a picture.
        k: largest number of videos to return; up to `MOST`.
        where: allowed value, or list of allowed values, by metadata column.
        moments: largest number of moments of each video, or "all".
        threshold: videos of a lower score are left out; None leaves out none.
        candidates: number of videos that are scored exactly, found by their segments; "all" scores
            every video, and None does so unless there are more than `EXACT`.
        rescored: number of the best videos that are scored again, where that is needed.
        without: sentence of what the moment must not show; None for nothing.
        then: sentence of what must follow later in the same video; None for nothing.
        like: id of a video of the library and a second in it, to find moments like it; or None.
        image: path of a picture or its content, to find moments like it; or None.
        name: words that the video's title, id or path must contain; None allows all.
        skip: number of the best videos to leave out, for the next page of an answer.
        subtitles: whether the words of subtitles are searched too.
    """

    text: str | None = None
    k: int = 10
    where: Mapping[str, Any] | None = None
    moments: int | Literal["all"] = 3
    threshold: float | None = None
    candidates: Candidates = None
    rescored: int = RESCORED
    without: str | None = None
    then: str | None = None
    like: tuple[str, float] | None = None
    image: Path | bytes | None = None
    name: str | None = None
    skip: int = 0
    subtitles: bool = True

    def check(self) -> None:
        """Raise a UserError unless every part is valid, and the parts fit together."""
        if self.text is not None or (self.like is None and self.image is None):
            check_text(self.text)
        if sum(part is not None for part in (self.text, self.like, self.image)) > 1:
            raise UserError("a search is for a sentence, a moment or a picture: give one of them")
        if self.like is not None:
            check_like(self.like)
        if self.without is not None and self.then is not None:
            raise UserError("give either `without` or `then`, not both")
        for words, named in ((self.without, "without"), (self.then, "then"), (self.name, "name")):
            if words is not None:
                check_text(words, named)
        counts = {"k": self.k, "rescored": self.rescored}
        if not isinstance(self.moments, str) or self.moments != "all":
            counts["moments"] = self.moments
        check_numbers(self.threshold, self.candidates, **counts)
        check_count("skip", self.skip, least=0)
        check_where(self.where)

    @property
    def is_plain(self) -> bool:
        """Return whether the query is one sentence and nothing else."""
        return self.text is not None and self.without is None and self.then is None

    @property
    def shown(self) -> str:
        """Return the query as one line for people: `a dog, then a cat`."""
        if self.text is not None:
            first = self.text
        elif self.like is not None:
            first = f"like {one_line(self.like[0])} at {clock(self.like[1])}"
        elif isinstance(self.image, Path):
            first = f"like {one_line(self.image.name)}"
        else:
            first = "like a picture"
        if self.without is not None:
            return f"{first}, without {self.without}"
        return first if self.then is None else f"{first}, then {self.then}"


def candidate_count(candidates: Candidates, videos: int) -> int | None:
    """Return the number of videos to score exactly; None for all of them.

    Args:
        candidates: number that the user wants, "all", or None for the default.
        videos: number of videos that match the filter.
    """
    if candidates is None:
        return None if videos <= EXACT else CANDIDATES
    return None if candidates == "all" else candidates


def check_text(text: object, named: str = "") -> None:
    """Raise unless a query is a text that is not empty.

    Args:
        text: the query.
        named: name of the argument, for the message; "" for the query itself.
    """
    shown = named or "the query"
    if not isinstance(text, str):
        raise UserError(f"{shown} is {quote(text)}; it must be a sentence")
    if not text.strip():
        raise UserError(
            f"{shown} is empty: "
            + ("leave it out, or give words" if named else "describe what happens in the video")
        )
    _check_unicode(text, shown)


def check_like(like: object) -> None:
    """Raise unless a moment is a pair of a video's id and a second, such as ("a", 12.5)."""
    if not isinstance(like, (tuple, list)) or len(like) != 2 or not isinstance(like[0], str):
        raise UserError(f"like is {quote(like)}; it must be a video and a second, say ('a', 12.5)")
    second = like[1]
    is_number = isinstance(second, Real) and not isinstance(second, bool)
    if not is_number or not 0 <= float(second) < math.inf:
        raise UserError(f"like has the second {quote(second)}; it must be a number from 0 on")
    _check_unicode(like[0], "like")


def check_numbers(threshold: object, candidates: object, **counts: object) -> None:
    """Raise unless the numbers of `Library.search` are valid.

    Args:
        threshold: a number, or None.
        candidates: a whole number of at least 1, "all", or None.
        counts: whole numbers of at least 1, by name of the argument.
    """
    if isinstance(candidates, str) and candidates != "all":
        raise UserError(f"candidates is {quote(candidates)}; it must be a number, or 'all'")
    if candidates is not None and candidates != "all":
        counts["candidates"] = candidates
    for name, value in counts.items():
        check_count(name, value)
    if threshold is not None and (
        not isinstance(threshold, Real) or isinstance(threshold, bool) or math.isnan(threshold)
    ):
        raise UserError(f"threshold is {quote(threshold)}; it must be a number")


def check_count(name: str, value: object, least: int = 1) -> None:
    """Raise unless a value is a whole number from `least` to `MOST`.

    Args:
        name: name of the argument, for the message.
        value: the value.
        least: smallest allowed number.
    """
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise UserError(f"{name} is {quote(value)}; it must be a whole number")
    if int(value) < least:
        raise UserError(f"{name} is {value}; it must be at least {least}")
    if int(value) > MOST:
        raise UserError(f"{name} is above {MOST:,}, the largest allowed number")


def check_where(where: object) -> None:
    """Raise unless conditions are columns with values, such as {"tags": "cooking"}, or None."""
    if where is None:
        return
    if not isinstance(where, Mapping) or not all(isinstance(column, str) for column in where):
        raise UserError(
            f"where is {quote(where)}; it must hold columns and values, say {{'tags': 'cooking'}}"
        )
    for column, allowed in where.items():
        for word in (column, *map(str, values(allowed))):
            _check_unicode(word, "where")


def check_ids(video_ids: object) -> list[str]:
    """Return ids of videos as a list; raise if they are something else, such as a single id."""
    ids = None
    if isinstance(video_ids, Iterable) and not isinstance(video_ids, (str, bytes)):
        ids = list(video_ids)
    if ids is None or not all(isinstance(name, str) for name in ids):
        raise UserError(f"video ids are {quote(video_ids)}; they must be a list, say ['a', 'b']")
    return ids


def _check_unicode(text: str, name: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UserError(f"{name} is not Unicode text: {quote(text)}") from None
