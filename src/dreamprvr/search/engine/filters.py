"""Conditions on metadata, read from options such as `--where tags=cooking`, as engine filters."""

from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any

from dreamprvr.core.errors import UserError
from dreamprvr.core.text import quote
from dreamprvr.search.engine.points import FACETS, facet, values


def parse_where(words: Iterable[str]) -> dict[str, list[str]]:
    """Read words such as `tags=cooking`; a repeated column allows either value.

    Args:
        words: values of the option `--where`.

    Returns:
        Allowed values by column.

    Raises:
        UserError: a word has no "=".
    """
    where: dict[str, list[str]] = {}
    for word in words:
        column, equals, value = word.partition("=")
        if not equals or not column.strip():
            raise UserError(f"--where {quote(word)}: write COLUMN=VALUE, say --where tags=cooking")
        where.setdefault(column.strip(), []).append(value.strip())
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


def matches(metadata: Mapping[str, Any], where: Mapping[str, Any] | None) -> bool:
    """Return whether a video's metadata meets all conditions, by the rule of the engine.

    Args:
        metadata: value, or list of values, by column.
        where: allowed value, or list of allowed values, by column; None allows all.
    """
    return all(
        column in metadata
        and {str(value) for value in values(allowed)} & {str(v) for v in values(metadata[column])}
        for column, allowed in (where or {}).items()
    )


def where_filter(models: ModuleType, where: Mapping[str, Any] | None) -> Any:
    """Write conditions for an engine: all columns must match, each with any of its values.

    Args:
        models: `qdrant_edge` or `qdrant_client.models`, which have the same class names.
        where: allowed value, or list of allowed values, by column.

    Returns:
        A filter of that module; None without conditions.
    """
    if not where:
        return None
    return models.Filter(
        must=[
            models.FieldCondition(
                key=FACETS,
                match=models.MatchAny(any=[facet(column, value) for value in values(allowed)]),
            )
            for column, allowed in where.items()
        ]
    )
