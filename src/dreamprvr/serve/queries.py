"""What the address of a search says."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import QueryParams

from dreamprvr.serve.replies import Refusal

MAX_QUERY = 1500  # characters, each up to 9 bytes of an address, which may have 16,384
MAX_K = 100
MAX_FILTERS = 64


@dataclass(frozen=True)
class SearchRequest:
    """One search, comparable and hashable.

    Args:
        text: the sentence.
        k: videos wanted.
        threshold: least score, or None.
        where: pairs of column and value; values of one column are alternatives.
        moments: moments a video.
    """

    text: str
    k: int
    threshold: float | None
    where: tuple[tuple[str, Any], ...]
    moments: int = 3

    def filters(self) -> dict[str, Any] | None:
        """The filters as the library takes them."""
        filters: dict[str, list[Any]] = {}
        for column, value in self.where:
            filters.setdefault(column, []).append(value)
        return {name: v[0] if len(v) == 1 else v for name, v in filters.items()} or None


def read_request(words: QueryParams, columns: Mapping[str, Sequence[Any]]) -> SearchRequest:
    """Check what came in the address.

    Args:
        words: q, the sentence; k, digits, 10 if absent; threshold, a number, none if absent;
            where, any number of "column=value".
        columns: of the library; a value is looked up among them, as numbers come in as text.

    Raises:
        Refusal: 400 or 413, one of them cannot be used.
    """
    text, where = " ".join(words.get("q", "").split()), words.getlist("where")
    if not text:
        raise Refusal(400, "q is empty: say in a sentence what to look for")
    if len(text) > MAX_QUERY:
        raise Refusal(413, f"q is longer than {MAX_QUERY} characters")
    if len(where) > MAX_FILTERS:
        raise Refusal(413, f"more than {MAX_FILTERS} filters")
    pairs = tuple(sorted({_filter(word, columns) for word in where}, key=repr))
    return SearchRequest(
        text, _count(words.get("k", "")), _threshold(words.get("threshold", "")), pairs
    )


def _count(k: str) -> int:
    if not k:
        return 10
    if not (k.isascii() and k.isdigit() and len(k) <= 6 and 1 <= int(k) <= MAX_K):
        raise Refusal(400, f"k is a whole number from 1 to {MAX_K}")
    return int(k)


def _threshold(text: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise Refusal(400, "threshold is a number")
    return value


def _filter(word: str, columns: Mapping[str, Sequence[Any]]) -> tuple[str, Any]:
    column, separator, wanted = word.partition("=")
    if not separator:
        raise Refusal(400, "where is a column and a value: where=tag=cooking")
    if column not in columns:
        names = ", ".join(columns) or "it has none"
        raise Refusal(400, f"the library has no column {column[:80]!r} ({names[:200]})")
    return column, next((value for value in columns[column] if str(value) == wanted), wanted)
