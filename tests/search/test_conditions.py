"""Conditions of users, as values and ids for the engine."""

from typing import Any

import pytest

from dreamprvr.core.errors import UserError
from dreamprvr.search.conditions import Allowed, extents, find_allowed
from dreamprvr.search.engine.filters import parse_where

COLUMNS = {
    "year": ["1999", "2020", "2021", "2022", "unknown"],
    "date": ["2023-12-31", "2024", "2024-03-01", "2024-03-01T18:30", "2025-01-01"],
    "tags": ["2020..2021", ">=5", "cooking"],
    "size": ["-1.5", "10", "9"],
}
VIDEOS = {
    name: {
        "source": {"path": path, "duration": seconds, "rows": 1},
        "metadata": {"title": title} if title else {},
    }
    for name, path, seconds, title in (
        ("a", "/films/Urlaub%202020/a.mp4", 59.999, ""),
        ("b", "/films/b.mp4", 60.0, "Über den Wolken"),
        ("holiday__c", "", 300.0, ""),
    )
}


def met(column: str, *words: str) -> list[str]:
    where = parse_where([f"{column}{word}" for word in words])
    allowed = find_allowed(where, None, COLUMNS, VIDEOS)
    assert allowed.only is None
    return list(allowed.where[column])


@pytest.mark.parametrize(
    ("column", "words", "values"),
    [
        ("year", ("=2020",), ["2020"]),
        ("year", (">=2020",), ["2020", "2021", "2022"]),
        ("year", ("> 2020", "<2022"), ["2021"]),
        ("year", ("=1990..2020",), ["1999", "2020"]),
        ("year", ("=1990..2020", "=2022"), ["1999", "2020", "2022"]),
        ("year", ("=2020", "=2022", ">2020"), ["2022"]),
        ("year", ("=2000..2010",), []),
        ("year", ("=2030",), []),
        ("size", ("<=9.5",), ["-1.5", "9"]),  # numbers, not letters
        ("size", ("=-2..9",), ["-1.5", "9"]),
        ("date", ("<2024-01-01",), ["2023-12-31", "2024"]),
        ("date", ("<=2024",), ["2023-12-31", "2024", "2024-03-01", "2024-03-01T18:30"]),
        ("date", (">2024-03-01",), ["2025-01-01"]),  # the evening is the same day
        ("date", (">2024-03-01 12:00",), ["2024-03-01T18:30", "2025-01-01"]),
        ("date", ("=2024-01-01..2024-12-31",), ["2024-03-01", "2024-03-01T18:30"]),
        ("tags", ("=2020..2021",), ["2020..2021"]),  # a value of a video stays a value
        ("tags", (">=5",), [">=5"]),
        ("tags", ("=cooking",), ["cooking"]),
    ],
)
def test_values_that_meet_conditions(
    column: str, words: tuple[str, ...], values: list[str]
) -> None:
    assert met(column, *words) == values


def test_columns_that_bounds_can_narrow() -> None:
    columns = {**COLUMNS, "year": ["1999", "900"], "one": ["7"], "none": []}
    assert extents(columns, [59.999, 300.0, float("nan")]) == [
        ("length", "number", "59", "300"),
        ("year", "number", "900", "1999"),
        ("date", "date", "2023-12-31", "2025-01-01"),
        ("size", "number", "-1.5", "10"),
    ]
    own = extents({"length": ["2024-01", "2024-02"]}, [1.0, 2.0])  # a column of the metadata
    assert own == [("length", "date", "2024-01", "2024-02")]
    assert extents({}, []) == []


def test_the_length_and_the_name_of_a_video() -> None:
    def found(where: Any = None, name: str | None = None) -> set[str]:
        only = find_allowed(where, name, COLUMNS, VIDEOS).only
        assert only is not None
        return set(only)

    assert found({"length": "60..300"}) == {"b", "holiday__c"}
    assert found({"length": "<60"}) == {"a"}
    assert found({"length": 60}) == {"b"}
    assert found({"length": [">=60", "<100"]}) == {"b"}
    assert found(name="urlaub") == {"a"}  # in the path
    assert found(name="WOLKEN über") == {"b"}  # in the title
    assert found(name="U\u0308ber") == {"b"}
    assert found(name="holiday") == {"holiday__c"}  # in the id
    assert found({"length": ">=100"}, name="films") == set()


def test_a_column_of_the_name_length_goes_before_the_seconds() -> None:
    columns = {"length": ["short", "long"]}
    assert find_allowed({"length": "short"}, None, columns, VIDEOS) == Allowed(
        {"length": ["short"]}
    )


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"years": "2020"}, "no metadata column 'years'; there are: year"),
        ({"year": ">=soon"}, "year>=soon: a bound is a number or a date, say year>=2020"),
        ({"tags": ">=2020"}, "tags>=2020 has no meaning: no value of the column 'tags'"),
        ({"year": "<2024-01-01T00"}, "a bound is a number or a date"),
    ],
)
def test_conditions_without_meaning_are_refused(where: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        find_allowed(where, None, COLUMNS, VIDEOS)
    assert "\n" not in str(error.value)
