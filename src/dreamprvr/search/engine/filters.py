"""Conditions on metadata, read from options such as `--where tags=cooking`, as engine filters."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any

from dreamprvr.core.errors import UserError
from dreamprvr.core.text import quote
from dreamprvr.search.engine.interface import Allowed
from dreamprvr.search.engine.points import FACETS, facet, point_id, values

_CONDITION = re.compile(r"([^=<>]*)(>=|<=|=|>|<)(.*)", re.DOTALL)


def parse_where(words: Iterable[str]) -> dict[str, list[str]]:
    """Read words such as `tags=cooking`, `year>=2020` or `length=60..300`.

    Args:
        words: values of the option `--where`. A repeated column allows either value, but of bounds
            (`>=`, `<=`, `>`, `<`) all must hold.

    Returns:
        Conditions by column, as `Library.search` takes them; a bound keeps its sign.

    Raises:
        UserError: a word has no sign, or no column before it.
    """
    where: dict[str, list[str]] = {}
    for word in words:
        match = _CONDITION.fullmatch(word)
        if match is None or not match[1].strip():
            raise UserError(
                f"--where {quote(word)}: write COLUMN=VALUE, say --where tags=cooking, or a bound, "
                "say --where 'year>=2020'"
            )
        sign = "" if match[2] == "=" else match[2]
        where.setdefault(match[1].strip(), []).append(f"{sign}{match[3].strip()}")
    return where


def check_columns(where: Mapping[str, Any], columns: Mapping[str, Sequence[str]]) -> None:
    """Raise if a condition names a column that no video has, since it would find nothing.

    Args:
        where: allowed value, or list of allowed values, by column.
        columns: values by column of the library.
    """
    for column in where:
        if column not in columns:
            known = ", ".join(columns) or "none; add some with --metadata CSV"
            raise UserError(f"no metadata column {quote(column)}; there are: {known}")


def may_find(allowed: Allowed, video_id: str, metadata: Mapping[str, Any]) -> bool:
    """Return whether a video may be found, by the rule of the engine.

    Args:
        allowed: videos that may be found.
        video_id: id of the video.
        metadata: value, or list of values, by column.
    """
    if video_id in allowed.besides or (allowed.only is not None and video_id not in allowed.only):
        return False
    return all(
        column in metadata
        and {str(value) for value in values(words)} & {str(v) for v in values(metadata[column])}
        for column, words in allowed.where.items()
    )


def where_filter(models: ModuleType, allowed: Allowed) -> Any:
    """Write conditions for an engine: all columns must match, each with any of its values.

    Args:
        models: `qdrant_edge` or `qdrant_client.models`, which have the same class names.
        allowed: videos that may be found.

    Returns:
        A filter of that module; None without conditions.
    """
    must: list[Any] = [
        models.FieldCondition(
            key=FACETS,
            match=models.MatchAny(any=[facet(column, value) for value in values(words)]),
        )
        for column, words in allowed.where.items()
    ]
    # the one argument of this class is the only one with two names
    argument = "point_ids" if models.__name__ == "qdrant_edge" else "has_id"

    def has_id(video_ids: Collection[str]) -> Any:
        return models.HasIdCondition(**{argument: set(map(point_id, video_ids))})

    must += [] if allowed.only is None else [has_id(allowed.only)]
    must_not = [has_id(allowed.besides)] if allowed.besides else None
    return models.Filter(must=must or None, must_not=must_not) if must or must_not else None
