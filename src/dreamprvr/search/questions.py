"""What may be asked of a library, checked before anything is loaded or searched."""

import math
from collections.abc import Iterable, Mapping
from numbers import Integral, Real

from dreamprvr.core.errors import UserError
from dreamprvr.core.text import quote
from dreamprvr.search.layout import values

MOST = 1_000_000  # videos or moments of one answer, as on the command line


def check_text(text: object) -> None:
    """Raise unless a query is a sentence."""
    if not isinstance(text, str):
        raise UserError(f"the query is {quote(text)}, and must be a sentence")
    if not text.strip():
        raise UserError("the query is empty: say what happens in the video")
    _check_unicode(text, "the query")


def check_numbers(k: object, moments: object, threshold: object, candidates: object) -> None:
    """Raise unless the numbers of `Library.search` are such numbers."""
    if isinstance(candidates, str) and candidates != "all":
        raise UserError(f"candidates is {quote(candidates)}; a number, or 'all'")
    for name, value in (("k", k), ("moments", moments), ("candidates", candidates)):
        if name == "candidates" and (value is None or value == "all"):
            continue
        if not isinstance(value, Integral) or isinstance(value, bool):
            raise UserError(f"{name} is {quote(value)}; it must be a whole number")
        if int(value) < 1:
            raise UserError(f"{name} is {value}; at least 1")
        if int(value) > MOST:
            raise UserError(f"{name} is above {MOST:,}, which is the most")
    if threshold is not None and (
        not isinstance(threshold, Real) or isinstance(threshold, bool) or math.isnan(threshold)
    ):
        raise UserError(f"threshold is {quote(threshold)}; it must be a number")


def check_where(where: object) -> None:
    """Raise unless conditions are columns with values, say {"tags": "cooking"}."""
    if where is None:
        return
    if not isinstance(where, Mapping) or not all(isinstance(column, str) for column in where):
        raise UserError(
            f"where is {quote(where)}; it must give columns and values, say {{'tags': 'cooking'}}"
        )
    for column, allowed in where.items():
        for word in (column, *map(str, values(allowed))):
            _check_unicode(word, "where")


def check_ids(video_ids: object) -> list[str]:
    """Ids of videos as a list; raise if they are something else, such as a single id."""
    ids = None
    if isinstance(video_ids, Iterable) and not isinstance(video_ids, (str, bytes)):
        ids = list(video_ids)
    if ids is None or not all(isinstance(name, str) for name in ids):
        raise UserError(f"video ids are {quote(video_ids)}; they must be a list, say ['a', 'b']")
    return ids


def _check_unicode(text: str, what: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UserError(f"{what} is no Unicode text: {quote(text)}") from None
